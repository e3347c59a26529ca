//! Owns the reading of an audit: footers and the parts of files, several at a time, handed to the auditor in the order of the
//! plan. Does not own which parts there are, nor their decoding ([`super::segments`]).

use std::collections::BTreeMap;
use std::future::Future;

use futures_util::{StreamExt, stream};
use parquet::file::metadata::ParquetMetaData;

use super::segments::{Depth, Segment, SegmentRead, has_offsets, segments};
use crate::audit::{AuditPlan, AuditedFile, Auditor, FooterFacts, Note, names_a_flush};
use crate::encode::{FileChecksum, FooterKey};
use crate::storage::{StorageError, Store};

/// Footers read at one time.
const FOOTERS_AT_ONCE: usize = 32;
/// Column chunks read at one time; each is in memory as a whole.
const SEGMENTS_AT_ONCE: usize = 4;

/// What reading gives, in the order of the plan.
enum Step {
    Opened(usize, FooterFacts),
    Read(usize, SegmentRead),
    Unreadable(usize, String),
}

/// Reads every file of the plan.
pub(super) async fn read_all(store: &Store, plan: &AuditPlan, depth: Depth) -> Auditor {
    let mut auditor = Auditor::new(plan);
    let opened = stream::iter(plan.files.iter().enumerate())
        .map(|(index, file)| {
            let (store, file) = (store.clone(), file.clone());
            apart(
                async move { open(&store, &file, depth).await.map(|(facts, parts)| (index, facts, parts)) },
                index,
            )
        })
        .buffered(FOOTERS_AT_ONCE);
    let steps = opened
        .flat_map(|opened| stream::iter(work_of(opened)))
        .map(|work| {
            let store = store.clone();
            let path = plan.files[work.index()].path.clone();
            do_work(store, path, work)
        })
        .buffered(SEGMENTS_AT_ONCE);
    let mut steps = std::pin::pin!(steps);
    // A file is named unreadable once; what was under way for it by then does not matter.
    let mut given_up = None;
    let mut checksum = FileChecksum::default();
    while let Some(step) = steps.next().await {
        match step {
            Step::Opened(index, facts) => {
                checksum = FileChecksum::default();
                auditor.begin(&plan.files[index], facts);
            }
            Step::Read(index, _) if given_up == Some(index) => {}
            Step::Read(_, part) => {
                if let Some(values) = &part.offsets {
                    auditor.offsets(&values.offsets, values.nulls);
                }
                if part.last {
                    auditor.checksum(&std::mem::take(&mut checksum).finish(&part.bytes));
                } else if depth == Depth::Pages {
                    checksum.update(&part.bytes);
                }
            }
            Step::Unreadable(index, _) if given_up == Some(index) => {}
            Step::Unreadable(index, reason) => {
                given_up = Some(index);
                auditor.unreadable(&plan.files[index], reason);
            }
        }
    }
    auditor
}

/// Of the files with foreign names, those whose footers say that they hold rows of ours, and those of which it cannot be
/// told.
pub(super) async fn renamed(store: &Store, foreign: &[String]) -> Vec<Note> {
    let parquet = foreign.iter().filter(|path| path.ends_with(".parquet"));
    let notes = stream::iter(parquet)
        .map(|path| {
            let (store, path) = (store.clone(), path.clone());
            async move {
                let footer = tokio::spawn({
                    let path = path.clone();
                    async move { store.read_metadata(&path).await }
                });
                let doubt = |reason: &str| {
                    let reason = format!("not a name of ours, and it cannot be told whether it holds rows of ours: {reason}");
                    Note { reason, file: path.clone() }
                };
                let footer = match footer.await {
                    Ok(Ok(footer)) => footer,
                    Ok(Err(error)) => return has_rows_perhaps(&error).then(|| doubt(&error.to_string())),
                    Err(_) => return Some(doubt("the Parquet reader panicked over it")),
                };
                let pairs = key_values(&footer);
                let said = |key: FooterKey| pairs.get(key.as_str()).map_or("?", String::as_str);
                names_a_flush(&pairs).then(|| Note {
                    reason: format!(
                        "not a name of ours, but it holds rows of {}[{}], flush [{}, {}): readers see them twice; remove it",
                        said(FooterKey::Topic),
                        said(FooterKey::Partition),
                        said(FooterKey::Start),
                        said(FooterKey::End),
                    ),
                    file: path,
                })
            }
        })
        .buffered(FOOTERS_AT_ONCE);
    notes.filter_map(|note| async { note }).collect().await
}

/// Whether a file whose footer cannot be read may have rows for a reader all the same: not what is no Parquet file, nor
/// what went away meanwhile.
fn has_rows_perhaps(error: &StorageError) -> bool {
    !matches!(error, StorageError::Invalid { .. } | StorageError::Missing { .. })
}

type Opened = (usize, FooterFacts, Vec<Segment>);

enum Work {
    Opened(usize, FooterFacts),
    Read(usize, Segment),
    Unreadable(usize, String),
}

impl Work {
    fn index(&self) -> usize {
        match self {
            Self::Opened(index, _) | Self::Read(index, _) | Self::Unreadable(index, _) => *index,
        }
    }
}

fn work_of(opened: Result<Opened, (usize, String)>) -> Vec<Work> {
    match opened {
        Ok((index, facts, parts)) => {
            let reads = parts.into_iter().map(|part| Work::Read(index, part));
            std::iter::once(Work::Opened(index, facts)).chain(reads).collect()
        }
        Err((index, reason)) => vec![Work::Unreadable(index, reason)],
    }
}

async fn do_work(store: Store, path: String, work: Work) -> Step {
    match work {
        Work::Opened(index, facts) => Step::Opened(index, facts),
        Work::Unreadable(index, reason) => Step::Unreadable(index, reason),
        Work::Read(index, part) => match apart(async move { part.read(&store, &path).await }, index).await {
            Ok(read) => Step::Read(index, read),
            Err((index, reason)) => Step::Unreadable(index, reason),
        },
    }
}

/// In a task of its own: other work goes on, and a damaged file that makes the Parquet reader panic is one unreadable file.
async fn apart<T: Send + 'static>(
    work: impl Future<Output = Result<T, String>> + Send + 'static,
    index: usize,
) -> Result<T, (usize, String)> {
    match tokio::spawn(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(reason)) => Err((index, reason)),
        Err(_) => Err((index, "the Parquet reader panicked over it".to_owned())),
    }
}

async fn open(
    store: &Store,
    file: &AuditedFile,
    depth: Depth,
) -> Result<(FooterFacts, Vec<Segment>), String> {
    let footer = store.read_metadata(&file.path).await.map_err(|error| error.to_string())?;
    let groups = footer.row_groups();
    let rows = groups.iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0)).sum();
    let facts = FooterFacts {
        key_values: key_values(&footer),
        rows,
        has_offsets: has_offsets(&footer),
        sorted: groups.iter().any(|group| group.sorting_columns().is_some_and(|columns| !columns.is_empty())),
    };
    Ok((facts, segments(&footer, file.size_bytes, depth)?))
}

/// Our key-values, without the schema: it may be large, and there are many files.
fn key_values(footer: &ParquetMetaData) -> BTreeMap<String, String> {
    let pairs = footer.file_metadata().key_value_metadata().into_iter().flatten();
    pairs
        .filter(|pair| pair.key.starts_with("sluice.") && pair.key != FooterKey::AvroSchema.as_str())
        .map(|pair| (pair.key.clone(), pair.value.clone().unwrap_or_default()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_no_parquet_file_or_is_gone_is_passed_over() {
        let reason = || "because".to_owned();
        assert!(has_rows_perhaps(&StorageError::Retriable { reason: reason(), after: None }));
        assert!(has_rows_perhaps(&StorageError::Denied { reason: reason() }));
        assert!(!has_rows_perhaps(&StorageError::Invalid { reason: reason() }));
        assert!(!has_rows_perhaps(&StorageError::Missing { path: reason() }));
    }
}
