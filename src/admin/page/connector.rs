//! Owns the part of the status page about one connector.

use super::text::{Escaped, amount, bytes, clock, seconds};
use super::{Around, put};
use crate::admin::ConnectorAction;
use crate::admin::history::Sample;
use crate::admin::plot::plot;
use crate::admin::snapshot::{ConnectorSnapshot, ConnectorState, ErrorSnapshot, PartitionSnapshot};

const COLUMNS: [&str; 8] =
    ["partition", "position", "committed", "lag", "lag, time", "open rows", "open bytes", "open for"];

pub(super) fn put_connector(page: &mut String, connector: &ConnectorSnapshot, around: &Around<'_>) {
    page.push_str("<section>\n");
    put_head(page, connector, around);
    put_trouble(page, connector);
    put_totals(page, connector, around);
    put_plots(page, &around.history.of(&connector.name));
    put_partitions(page, connector);
    put_files(page, connector);
    put_errors(page, &connector.last_errors);
    page.push_str("</section>\n");
}

fn put_head(page: &mut String, connector: &ConnectorSnapshot, around: &Around<'_>) {
    let state = connector.state.as_str();
    let name = Escaped(&connector.name);
    put(
        page,
        format_args!("<div class=\"head\"><h2>{name}</h2><span class=\"state {state}\">{state}</span>"),
    );
    if let Some(wait) = connector.restart_in_seconds {
        put(page, format_args!("<span class=\"quiet\">starts again in {}</span>", seconds(wait)));
    }
    if connector.paused && connector.state != ConnectorState::Paused {
        page.push_str("<span class=\"quiet\">will be paused when it runs: an operator asked for it</span>");
    }
    if around.takes_commands {
        page.push_str("<div class=\"buttons\">");
        let pause = (!connector.paused).then_some((ConnectorAction::Pause, "Pause"));
        let resume = connector.paused.then_some((ConnectorAction::Resume, "Resume"));
        let flush = connector.state.is_active().then_some((ConnectorAction::Flush, "Flush"));
        let restart = Some((ConnectorAction::Restart, "Restart"));
        for (action, word) in [pause, resume, flush, restart].into_iter().flatten() {
            // Names hold nothing that a path would have to escape.
            put(
                page,
                format_args!(
                    "<form method=\"post\" action=\"api/connectors/{name}/{}\"><button>{word}</button></form>",
                    action.as_str()
                ),
            );
        }
        page.push_str("</div>");
    }
    page.push_str("</div>\n");
}

/// What keeps it from being ready or from delivering, where something does.
fn put_trouble(page: &mut String, connector: &ConnectorSnapshot) {
    if let Some(reason) = connector.not_ready_because() {
        put(page, format_args!("<p class=\"alarm\">{}</p>\n", Escaped(&reason)));
        // Said with it.
        if connector.state == ConnectorState::Starting || connector.trouble.is_some() {
            return;
        }
    }
    for trouble in &connector.troubles {
        let (stage, message) = (Escaped(&trouble.stage), Escaped(&trouble.message));
        put(
            page,
            format_args!(
                "<p class=\"alarm\">{stage}: {message}; it is tried again, and nothing is lost</p>\n"
            ),
        );
    }
}

fn put_totals(page: &mut String, connector: &ConnectorSnapshot, around: &Around<'_>) {
    let totals = (around.totals)(&connector.name);
    put(
        page,
        format_args!(
            "<p class=\"quiet\">{} records in, {} rows in {} files ({}) out; {} poison, {} dead letters, {} retries, {} \
         restarts; {} buffered</p>\n",
            amount(totals.records),
            amount(totals.rows),
            amount(totals.files),
            bytes(totals.file_bytes),
            amount(totals.poison),
            amount(totals.dead_letters),
            amount(totals.retries),
            amount(totals.restarts),
            bytes(connector.buffered_bytes),
        ),
    );
}

fn put_plots(page: &mut String, samples: &[Sample]) {
    let values = |value: fn(&Sample) -> f64| -> Vec<f64> { samples.iter().map(value).collect() };
    page.push_str("<div class=\"plots\">");
    page.push_str(&plot("records", &values(|s| s.records_per_second), |v| format!("{}/s", amount(v as u64))));
    page.push_str(&plot("written", &values(|s| s.file_bytes_per_second), |v| {
        format!("{}/s", bytes(v as u64))
    }));
    page.push_str(&plot("lag", &values(|s| s.lag_records), |v| amount(v as u64)));
    page.push_str(&plot("lag, time", &values(|s| s.lag_seconds), seconds));
    page.push_str("</div>\n");
}

fn put_partitions(page: &mut String, connector: &ConnectorSnapshot) {
    if connector.partitions.is_empty() {
        page.push_str("<p class=\"quiet\">No partition is assigned to it.</p>\n");
        return;
    }
    page.push_str("<div class=\"scroll\"><table><tr>");
    for column in COLUMNS {
        put(page, format_args!("<th>{column}</th>"));
    }
    page.push_str("</tr>\n");
    for partition in &connector.partitions {
        put_partition(page, partition);
    }
    page.push_str("</table></div>\n");
}

fn put_partition(page: &mut String, partition: &PartitionSnapshot) {
    let flush = partition.open_flush.as_ref();
    let paused = if partition.paused { " <b class=\"paused\">paused</b>" } else { "" };
    put(page, format_args!("<tr><td>{}[{}]{paused}</td>", Escaped(&partition.topic), partition.partition));
    let cells = [
        partition.position.map(amount),
        partition.committed.map(amount),
        partition.lag_records.map(amount),
        partition.lag_seconds.map(seconds),
        flush.map(|flush| amount(flush.rows)),
        flush.map(|flush| bytes(flush.bytes)),
        flush.map(|flush| seconds(flush.age_seconds)),
    ];
    for cell in cells {
        put(page, format_args!("<td>{}</td>", cell.as_deref().unwrap_or("–")));
    }
    page.push_str("</tr>\n");
}

fn put_files(page: &mut String, connector: &ConnectorSnapshot) {
    if connector.last_files.is_empty() {
        return;
    }
    page.push_str(
        "<h3>Last files</h3><div class=\"scroll\"><table><tr><th>file</th><th>at (UTC)</th><th>offsets</th><th>size</th>\
         <th>ended by</th></tr>\n",
    );
    for file in &connector.last_files {
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("connector", &connector.name)
            .append_pair("path", &file.path)
            .finish();
        put(
            page,
            format_args!(
                "<tr><td><a href=\"footer?{}\">{}</a></td><td>{}</td><td>{} – {}</td><td>{}</td><td>{}</td></tr>\n",
                Escaped(&query),
                Escaped(&file.path),
                clock(file.at_ms),
                amount(file.start),
                amount(file.end),
                bytes(file.bytes),
                Escaped(&file.reason),
            ),
        );
    }
    page.push_str("</table></div>\n");
}

fn put_errors(page: &mut String, errors: &[ErrorSnapshot]) {
    if errors.is_empty() {
        return;
    }
    page.push_str(
        "<h3>Last errors</h3><div class=\"scroll\"><table><tr><th>at (UTC)</th><th>times</th><th class=\"left\">stage</th>\
         <th class=\"left\">what</th><th class=\"left\">what to do</th></tr>\n",
    );
    for error in errors {
        put(
            page,
            format_args!(
                "<tr><td>{}</td><td>{}</td><td class=\"left\">{}</td><td class=\"text\">{}</td><td class=\"text\">{}</td></tr>\n",
                clock(error.at_ms),
                amount(error.count),
                Escaped(&error.stage),
                Escaped(&error.message),
                advice(error),
            ),
        );
    }
    page.push_str("</table></div>\n");
}

/// What a person can do, beside what the message says.
fn advice(error: &ErrorSnapshot) -> &'static str {
    match (error.kind.as_str(), error.stage.as_str()) {
        ("retriable", "seal" | "publish") => "Nothing is lost and it goes on by itself; look at the store.",
        ("retriable", "schema") => "Nothing is lost and it goes on by itself; look at the schema registry.",
        ("retriable", "consume" | "intend" | "settle" | "recover") => {
            "Nothing is lost and it goes on by itself; look at the brokers."
        }
        ("retriable", _) => "Nothing is lost and it goes on by itself.",
        ("poison", _) => "Mend the producer or the schema, or choose another errors.on_poison; then restart.",
        _ => "The offsets are held. Mend what the message names, then restart the connector.",
    }
}
