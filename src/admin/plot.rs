//! Owns small plots of the last hour, as inline SVG. Does not own what is plotted.

use std::fmt::Write as _;

const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 48.0;
/// Points across the width, when the whole hour is there.
const POINTS: usize = 360;

/// A line of `values`, the oldest first, below its title and with the newest and the largest value told.
pub(super) fn plot(title: &str, values: &[f64], shown: fn(f64) -> String) -> String {
    let largest = values.iter().copied().fold(0.0, f64::max);
    let newest = values.last().copied().map_or_else(|| "–".to_owned(), shown);
    let mut points = String::new();
    // The newest value stands at the right edge, also while the hour is not full.
    let first = POINTS.saturating_sub(values.len());
    for (at, value) in values.iter().enumerate() {
        let x = (first + at) as f64 / (POINTS - 1) as f64 * WIDTH;
        let y = HEIGHT - 1.0 - if largest > 0.0 { value / largest * (HEIGHT - 2.0) } else { 0.0 };
        // Writing to a string cannot fail.
        let _ = write!(points, "{x:.1},{y:.1} ");
    }
    format!(
        "<figure><figcaption>{title} <b>{newest}</b> <small>at most {}</small></figcaption>\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}, last hour\" preserveAspectRatio=\"none\">\
         <polyline points=\"{}\"/></svg></figure>",
        shown(largest),
        points.trim_end()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_is_at_the_right_edge_and_the_largest_at_the_top() {
        let svg = plot("rate", &[0.0, 4.0, 2.0], |value| format!("{value:.0}/s"));
        assert!(svg.contains("240.0,24.0\""), "{svg}");
        assert!(svg.contains(",1.0 "), "{svg}");
        assert!(svg.contains("<b>2/s</b> <small>at most 4/s</small>"), "{svg}");
        let empty = plot("rate", &[], |value| format!("{value}"));
        assert!(empty.contains("<b>–</b>") && empty.contains("points=\"\""), "{empty}");
    }
}
