//! Owns the layout of an audit's report for people. Does not own what is in it.

use std::io::{self, Write};

use crate::audit::{AuditReport, GapContent, PartitionReport};
use crate::cli::output::{Align, Table, count_of, printable, thousands};
use crate::config::settings::ByteSize;

/// Problems shown of one topic-partition, and foreign files.
const MAX_LINES: usize = 20;

/// Writes the report.
///
/// # Errors
/// As the writer.
pub(super) fn write(out: &mut dyn Write, report: &AuditReport) -> io::Result<()> {
    writeln!(
        out,
        "{}: {}, {}, {}, {}",
        printable(&report.url),
        count_of(report.partitions.len() as u64, "topic-partition"),
        count_of(report.files, "file"),
        count_of(report.rows, "row"),
        ByteSize(report.bytes)
    )?;
    if !report.partitions.is_empty() {
        writeln!(out)?;
        write_table(out, &report.partitions)?;
    }
    write_problems(out, report)?;
    write_remarks(out, report)?;
    writeln!(out, "\n{}", verdict(report))
}

fn write_table(out: &mut dyn Write, partitions: &[PartitionReport]) -> io::Result<()> {
    use Align::{Left, Right};
    let with_group = partitions.iter().any(|one| one.committed.is_some());
    let mut table = Table::new(&[Left, Right, Left, Right, Right, Right, Right, Right, Right, Right, Left]);
    table.push([
        "topic",
        "partition",
        "offsets",
        "flushes",
        "files",
        "rows",
        "gaps",
        "overlaps",
        "duplicates",
        if with_group { "committed" } else { "" },
        "",
    ]);
    for one in partitions {
        let committed = one.committed.as_ref().map_or_else(String::new, |commit| {
            commit.offset.map_or_else(|| "none".to_owned(), |offset| offset.to_string())
        });
        table.push([
            printable(&one.topic),
            one.partition.to_string(),
            one.offsets.map_or_else(|| "-".to_owned(), |span| span.to_string()),
            thousands(one.flushes as u64),
            thousands(one.files),
            thousands(one.rows),
            thousands(one.gaps.iter().filter(|gap| gap.broker != GapContent::NoRecord).count() as u64),
            thousands(one.overlaps.len() as u64),
            thousands(one.duplicates.count),
            committed,
            if one.ok { "ok" } else { "NOT PROVED" }.to_owned(),
        ]);
    }
    table.write(out, "")
}

fn write_problems(out: &mut dyn Write, report: &AuditReport) -> io::Result<()> {
    for one in report.partitions.iter().filter(|one| !one.ok) {
        writeln!(out, "\n{}[{}]", printable(&one.topic), one.partition)?;
        let problems = one.problems();
        for line in problems.iter().take(MAX_LINES) {
            writeln!(out, "  {}", printable(line))?;
        }
        write_more(out, problems.len())?;
    }
    if !report.renamed.is_empty() {
        writeln!(out, "\nunder foreign names")?;
        for note in report.renamed.iter().take(MAX_LINES) {
            writeln!(out, "  {}: {}", printable(&note.file), printable(&note.reason))?;
        }
        write_more(out, report.renamed.len())?;
    }
    Ok(())
}

/// What proves and disproves nothing, but should be known.
fn write_remarks(out: &mut dyn Write, report: &AuditReport) -> io::Result<()> {
    let unchecked: u64 = report.partitions.iter().map(|one| one.files_without_offsets).sum();
    if unchecked > 0 {
        writeln!(
            out,
            "\n{} without an `_offset` column, judged by name and number of rows only",
            count_of(unchecked, "file")
        )?;
    }
    let compared: u64 = report.partitions.iter().map(|one| one.files_compared).sum();
    if report.ok && report.pages_read && compared < report.files {
        writeln!(
            out,
            "\n{} of earlier versions without a checksum: their pages decode, but a value that was changed is not noticed",
            count_of(report.files - compared, "file")
        )?;
    }
    let empty = report
        .partitions
        .iter()
        .flat_map(|one| &one.gaps)
        .filter(|gap| gap.broker == GapContent::NoRecord)
        .count();
    if empty > 0 {
        writeln!(
            out,
            "\n{} between flushes where the broker has no record",
            count_of(empty as u64, "space")
        )?;
    }
    for one in &report.partitions {
        if let Some(unfiled) = one.committed.as_ref().and_then(|commit| commit.unfiled) {
            writeln!(
                out,
                "\n{}[{}]: nothing of {unfiled} became a row, as the group's commit says: skipped, or dead letters",
                printable(&one.topic),
                one.partition
            )?;
        }
        if let Some(pending) = one.committed.as_ref().and_then(|commit| commit.pending) {
            writeln!(
                out,
                "\n{}[{}]: a flush of {pending} is announced and not settled yet",
                printable(&one.topic),
                one.partition
            )?;
        }
    }
    if !report.foreign.is_empty() {
        writeln!(out, "\nforeign files, not looked into")?;
        for path in report.foreign.iter().take(MAX_LINES) {
            writeln!(out, "  {}", printable(path))?;
        }
        write_more(out, report.foreign.len())?;
    }
    Ok(())
}

fn write_more(out: &mut dyn Write, all: usize) -> io::Result<()> {
    if all > MAX_LINES {
        writeln!(out, "  and {} more, with --json", all - MAX_LINES)?;
    }
    Ok(())
}

fn verdict(report: &AuditReport) -> String {
    if !report.ok && report.files == 0 {
        return "NOT PROVED: there is no file of ours; is the URL the output prefix, and the topic spelt right?".to_owned();
    }
    if !report.ok {
        return "NOT PROVED".to_owned();
    }
    if report.none_due {
        return "proved: there is no file and none is due, nothing that the group has passed became a row"
            .to_owned();
    }
    let of_all = |count: fn(&PartitionReport) -> u64| report.partitions.iter().map(count).sum::<u64>();
    let read = if !report.pages_read {
        "every footer is readable; values were not read"
    } else if of_all(|one| one.files_compared) == report.files {
        "every page is readable and every byte is as it was written"
    } else {
        "every page is readable"
    };
    if report.partitions.iter().any(|one| one.broker_begins.is_none()) {
        format!(
            "proved: from the first offset found on, each offset is there at most once, ranges are contiguous, {read}"
        )
    } else {
        format!(
            "proved: each offset is there at most once, ranges are contiguous from the broker's first offset on, {read}"
        )
    }
}
