//! Owns the text form of metrics. Does not own which there are.
//!
//! Form: Prometheus text exposition 0.0.4,
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::fmt::Write;

use super::instruments::HistogramReading;

/// A metric family: its name, kind, and a sentence of help.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Label names and values of a sample.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// A page of metrics under way: a family, then its samples, then the next family.
#[derive(Default)]
pub(super) struct Exposition {
    text: String,
    family: &'static str,
}

impl Exposition {
    /// Begins a family; the samples that follow belong to it.
    pub(super) fn begin(&mut self, family: &Family) {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.family = family.name;
        self.text.push_str("# HELP ");
        self.text.push_str(family.name);
        self.text.push(' ');
        push_escaped(&mut self.text, family.help, false);
        self.put(format_args!("\n# TYPE {} {kind}\n", family.name));
    }

    pub(super) fn count(&mut self, labels: Labels<'_>, value: u64) {
        self.series("", labels, None);
        self.put(format_args!("{value}\n"));
    }

    pub(super) fn number(&mut self, labels: Labels<'_>, value: f64) {
        self.series("", labels, None);
        self.put(format_args!("{value}\n"));
    }

    pub(super) fn histogram(&mut self, labels: Labels<'_>, reading: &HistogramReading) {
        for (bound, at_most) in &reading.at_most {
            self.series("_bucket", labels, Some(("le", &bound.to_string())));
            self.put(format_args!("{at_most}\n"));
        }
        self.series("_bucket", labels, Some(("le", "+Inf")));
        self.put(format_args!("{}\n", reading.count));
        self.series("_sum", labels, None);
        self.put(format_args!("{}\n", reading.sum));
        self.series("_count", labels, None);
        self.put(format_args!("{}\n", reading.count));
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn series(&mut self, suffix: &str, labels: Labels<'_>, extra: Option<(&str, &str)>) {
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        let mut opening = '{';
        for (name, value) in labels.iter().copied().chain(extra) {
            self.text.push(opening);
            opening = ',';
            self.text.push_str(name);
            self.text.push_str("=\"");
            push_escaped(&mut self.text, value, true);
            self.text.push('"');
        }
        self.text.push_str(if opening == ',' { "} " } else { " " });
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(text);
    }
}

fn push_escaped(text: &mut String, value: &str, quotes_too: bool) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if quotes_too => text.push_str("\\\""),
            _ => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        let mut page = Exposition::default();
        page.begin(&Family { name: "x", kind: Kind::Gauge, help: "a \"b\" \\ c\nd" });
        page.count(&[("l", "a\"b\\c\nd}é")], 1);
        page.number(&[], 0.5);
        assert_eq!(
            page.into_text(),
            "# HELP x a \"b\" \\\\ c\\nd\n# TYPE x gauge\nx{l=\"a\\\"b\\\\c\\nd}é\"} 1\nx 0.5\n"
        );
    }
}
