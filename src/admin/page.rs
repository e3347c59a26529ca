//! Owns the status page: one HTML document, nothing to load, every value escaped.

use std::fmt::{self, Display, Write};

use super::snapshot::{ConnectorSnapshot, DaemonSnapshot, PartitionSnapshot};

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>sluice</title><style>\
body{font:14px system-ui,sans-serif;margin:2em}table{border-collapse:collapse;margin:.5em 0 2em}\
th,td{padding:.2em .8em;border-bottom:1px solid #ccc;text-align:right}\
th:first-child,td:first-child{text-align:left}.failed{color:#b00}\
</style></head><body><h1>sluice</h1>\n";

const COLUMNS: [&str; 8] =
    ["partition", "position", "committed", "lag", "lag, s", "open rows", "open bytes", "open for, s"];

pub(super) fn status_page(daemon: &DaemonSnapshot) -> String {
    let mut page = HEAD.to_owned();
    for connector in &daemon.connectors {
        // Writing to a string cannot fail.
        let _ = put_connector(&mut page, connector);
    }
    page.push_str("</body></html>\n");
    page
}

fn put_connector(page: &mut String, connector: &ConnectorSnapshot) -> fmt::Result {
    let state = connector.state.as_str();
    let name = Escaped(&connector.name);
    writeln!(page, "<h2>{name} <small class=\"{state}\">{state}</small></h2>")?;
    if let Some(error) = &connector.last_error {
        let (origin, message) = (Escaped(&error.stage), Escaped(&error.message));
        writeln!(page, "<p class=\"failed\">Last error, at {origin}: {message}</p>")?;
    }
    page.push_str("<table><tr>");
    for column in COLUMNS {
        write!(page, "<th>{column}</th>")?;
    }
    page.push_str("</tr>\n");
    for partition in &connector.partitions {
        put_partition(page, partition)?;
    }
    page.push_str("</table>\n");
    Ok(())
}

fn put_partition(page: &mut String, partition: &PartitionSnapshot) -> fmt::Result {
    let flush = partition.open_flush.as_ref();
    let paused = if partition.paused { ", paused" } else { "" };
    write!(page, "<tr><td>{}[{}]{paused}</td>", Escaped(&partition.topic), partition.partition)?;
    put_cell(page, partition.position)?;
    put_cell(page, partition.committed)?;
    put_cell(page, partition.lag_records)?;
    put_cell(page, partition.lag_seconds.map(|seconds| format!("{seconds:.1}")))?;
    put_cell(page, flush.map(|flush| flush.rows))?;
    put_cell(page, flush.map(|flush| flush.bytes))?;
    put_cell(page, flush.map(|flush| format!("{:.1}", flush.age_seconds)))?;
    page.push_str("</tr>\n");
    Ok(())
}

fn put_cell(page: &mut String, value: Option<impl Display>) -> fmt::Result {
    match value {
        Some(value) => write!(page, "<td>{value}</td>"),
        None => page.write_str("<td>–</td>"),
    }
}

/// Text that HTML takes for text, in an element or in a quoted attribute.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;"),
                '<' => f.write_str("&lt;"),
                '>' => f.write_str("&gt;"),
                '"' => f.write_str("&quot;"),
                '\'' => f.write_str("&#39;"),
                _ => f.write_char(c),
            }?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::snapshot::{ErrorSnapshot, sample};

    #[test]
    fn hostile_text_stays_text() {
        let hostile = "<script>\"'&</script>";
        let mut daemon = sample(hostile);
        let connector = &mut daemon.connectors[0];
        connector.partitions[0].topic = hostile.into();
        connector.last_error =
            Some(ErrorSnapshot { at_ms: 0, stage: hostile.into(), message: hostile.into() });
        let page = status_page(&daemon);
        assert!(!page.contains("<script"), "{page}");
        assert_eq!(page.matches("&lt;script&gt;&quot;&#39;&amp;&lt;/script&gt;").count(), 4);
    }

    #[test]
    fn unknown_numbers_are_dashes() {
        let page = status_page(&sample("orders"));
        assert!(page.contains("<td>shop[0]</td><td>15</td><td>10</td><td>30</td><td>2.5</td>"), "{page}");
        assert!(page.contains("<td>shop[1], paused</td><td>–</td>"), "{page}");
    }
}
