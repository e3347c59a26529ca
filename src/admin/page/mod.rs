//! Owns the pages for people: HTML documents without scripts, nothing to load, every value escaped. Does not own what they
//! tell.

mod connector;
mod text;

use std::fmt::Write as _;

use super::history::History;
use super::snapshot::DaemonSnapshot;
use crate::config::settings::LogLevel;
use crate::metrics::ConnectorTotals;
use connector::put_connector;
use text::Escaped;

const STYLE: &str = include_str!("style.css");
/// How often a browser asks again, in seconds.
const REFRESH_SECONDS: u32 = 10;

/// What the status page shows beside the snapshot.
pub(super) struct Around<'a> {
    pub(super) history: &'a History,
    /// Whether there are buttons.
    pub(super) takes_commands: bool,
    pub(super) refreshes: bool,
    pub(super) log_level: Option<&'static str>,
    pub(super) totals: &'a dyn Fn(&str) -> ConnectorTotals,
}

/// The status page.
pub(super) fn status_page(daemon: &DaemonSnapshot, around: &Around<'_>) -> String {
    let mut page = String::with_capacity(16 << 10);
    let refresh = around.refreshes.then_some(REFRESH_SECONDS);
    put_head(&mut page, "sluice", refresh);
    put_header(&mut page, daemon, around);
    for connector in &daemon.connectors {
        put_connector(&mut page, connector, around);
    }
    page.push_str("</body></html>\n");
    page
}

/// What a refused configuration is answered with.
pub(super) fn refused_page(problems: &[String]) -> String {
    let mut page = String::new();
    put_head(&mut page, "configuration refused", None);
    page.push_str("<header><h1>The configuration is refused</h1></header><p>Everything goes on as before. Mend the file and reload again.</p><ul>");
    for problem in problems {
        put(&mut page, format_args!("<li class=\"alarm\">{}</li>", Escaped(problem)));
    }
    page.push_str("</ul><p><a href=\"../\">Back</a></p></body></html>\n");
    page
}

/// What a button is answered with whose command cannot be obeyed.
pub(super) fn not_done_page(reason: &str) -> String {
    let mut page = String::new();
    put_head(&mut page, "not done", None);
    put(
        &mut page,
        format_args!(
            "<header><h1>Not done</h1></header><p class=\"alarm\">{}</p><p><a href=\"../../../\">Back</a></p></body></html>\n",
            Escaped(reason)
        ),
    );
    page
}

/// A published file's footer.
pub(super) fn footer_page(connector: &str, footer: &serde_json::Value) -> String {
    let mut page = String::new();
    put_head(&mut page, "footer", None);
    let text = serde_json::to_string_pretty(footer).unwrap_or_default();
    put(
        &mut page,
        format_args!(
            "<header><h1>{}</h1><a href=\"./\">Back</a></header><pre>{}</pre></body></html>\n",
            Escaped(connector),
            Escaped(&text)
        ),
    );
    page
}

fn put_head(page: &mut String, title: &str, refresh: Option<u32>) {
    page.push_str("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    page.push_str("<meta name=\"color-scheme\" content=\"light dark\">");
    if let Some(seconds) = refresh {
        put(page, format_args!("<meta http-equiv=\"refresh\" content=\"{seconds}\">"));
    }
    put(page, format_args!("<title>{title}</title><style>{STYLE}</style></head><body>\n"));
}

fn put_header(page: &mut String, daemon: &DaemonSnapshot, around: &Around<'_>) {
    let failed = daemon.connectors.iter().filter(|one| one.not_ready_because().is_some()).count();
    let health = match failed {
        0 => "all ready".to_owned(),
        one_or_more => format!("{one_or_more} of {} not ready", daemon.connectors.len()),
    };
    let (link, word) =
        if around.refreshes { ("?refresh=off", "stop refreshing") } else { ("./", "refresh by itself") };
    put(
        page,
        format_args!(
            "<header><h1>sluice</h1><span class=\"quiet\">{}</span><span>{health}</span><a href=\"{link}\">{word}</a>\
         <a href=\"metrics\">metrics</a><a href=\"api/connectors\">API</a>",
            env!("CARGO_PKG_VERSION"),
        ),
    );
    if around.takes_commands {
        page.push_str("<div class=\"buttons\">");
        if let Some(current) = around.log_level {
            put_log_form(page, current);
        }
        put_button(page, "api/reload", "Reload configuration");
        page.push_str("</div>");
    }
    page.push_str("</header>\n");
}

fn put_log_form(page: &mut String, current: &str) {
    page.push_str(
        "<form method=\"post\" action=\"api/log\"><select name=\"level\" aria-label=\"log level\">",
    );
    for level in LogLevel::ALL {
        let selected = if level.as_str() == current { " selected" } else { "" };
        put(page, format_args!("<option{selected}>{}</option>", level.as_str()));
    }
    page.push_str("</select> <button>Set log level</button></form>");
}

fn put_button(page: &mut String, action: &str, word: &str) {
    put(page, format_args!("<form method=\"post\" action=\"{action}\"><button>{word}</button></form>"));
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = page.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::snapshot::{ErrorSnapshot, TroubleSnapshot, sample};

    fn shown(daemon: &DaemonSnapshot) -> String {
        let (history, totals) = (History::default(), |_: &str| ConnectorTotals::default());
        let around = Around {
            history: &history,
            takes_commands: true,
            refreshes: true,
            log_level: Some("info"),
            totals: &totals,
        };
        status_page(daemon, &around)
    }

    #[test]
    fn hostile_text_stays_text() {
        let hostile = "<script>\"'&</script>";
        let mut daemon = sample(hostile);
        let connector = &mut daemon.connectors[0];
        connector.partitions[0].topic = hostile.into();
        connector.last_files[0].path = hostile.into();
        let error = ErrorSnapshot { stage: hostile.into(), message: hostile.into(), ..Default::default() };
        connector.last_error = Some(error.clone());
        connector.last_errors = vec![error];
        connector.troubles =
            vec![TroubleSnapshot { stage: hostile.into(), message: hostile.into(), partitions: 1 }];
        let page = shown(&daemon);
        assert!(!page.contains("<script"), "{page}");
        assert!(!not_done_page(hostile).contains("<script"));
        assert!(!refused_page(&[hostile.to_owned()]).contains("<script"));
        assert!(!footer_page(hostile, &serde_json::json!({ hostile: hostile })).contains("<script"));
        assert_eq!(page.matches("&lt;script&gt;&quot;&#39;&amp;&lt;/script&gt;").count(), 10);
    }

    #[test]
    fn unknown_numbers_are_dashes() {
        let page = shown(&sample("orders"));
        assert!(page.contains("<td>shop[0]</td><td>15</td><td>10</td><td>30</td><td>2.5 s</td>"), "{page}");
        assert!(page.contains("<td>shop[1] <b class=\"paused\">paused</b></td><td>–</td>"), "{page}");
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_nothing_is_a_script() {
        let page = shown(&sample("orders"));
        for foreign in ["<script", "<link", "<img", "@import", "url(", "http://", "https://"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        let handlers = regex::Regex::new(r"<[^>]*\son\w+\s*=").unwrap();
        assert!(!handlers.is_match(&page), "{:?}", handlers.find(&page));
        assert!(page.contains("selected>info<"));
    }

    #[test]
    fn links_to_footers_are_escaped() {
        let mut daemon = sample("orders");
        daemon.connectors[0].last_files[0].path = "t/a=1%3A&b/t+0+1.parquet".into();
        let page = shown(&daemon);
        assert!(
            page.contains("href=\"footer?connector=orders&amp;path=t%2Fa%3D1%253A%26b%2Ft%2B0%2B1.parquet\""),
            "{page}"
        );
    }
}
