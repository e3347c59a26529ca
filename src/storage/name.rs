//! Owns what a file of the lake may be called: a checked path relative to the output prefix. Does not own how names are
//! made, nor any I/O.

use std::fmt;

/// Longest key an object store takes, in bytes (S3, GCS and Azure Blob agree).
pub const MAX_KEY_BYTES: usize = 1024;
/// Longest path segment a file system takes, in bytes (`NAME_MAX` of Linux).
pub const MAX_SEGMENT_BYTES: usize = 255;

/// Path of a file relative to the output prefix: segments separated by `/`, each valid in every backend and visible to
/// readers. Segments arrive escaped already; nothing is escaped again, so the name is the key, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// Checks a name.
    ///
    /// # Errors
    /// When the whole is empty or longer than [`MAX_KEY_BYTES`], or a segment is empty, longer than
    /// [`MAX_SEGMENT_BYTES`], starts with a dot (`.`, `..` and names that readers skip), or holds a backslash or a
    /// control character.
    pub fn new(path: impl Into<String>) -> Result<Self, InvalidName> {
        let path = path.into();
        match fault_of(&path) {
            None => Ok(Self(path)),
            Some(fault) => Err(InvalidName { path, fault }),
        }
    }

    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments in order; never empty.
    #[must_use]
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for ObjectName {
    type Err = InvalidName;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        Self::new(path)
    }
}

/// A path that cannot be the name of a file in the lake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be a file name in the lake: {fault}", path.escape_debug())]
pub struct InvalidName {
    path: String,
    fault: &'static str,
}

/// Whether readers of the lake skip a file because of a segment of its path.
pub(super) fn is_hidden(path: &str) -> bool {
    path.split('/').any(|segment| segment.starts_with('.'))
}

fn fault_of(path: &str) -> Option<&'static str> {
    if path.len() > MAX_KEY_BYTES {
        return Some("longer than 1024 bytes");
    }
    path.split('/').find_map(|segment| match segment {
        "" => Some("empty path segment"),
        _ if segment.len() > MAX_SEGMENT_BYTES => Some("path segment longer than 255 bytes"),
        _ if segment.starts_with('.') => Some("path segment starts with a dot, readers would not see it"),
        _ if segment.contains('\\') => Some("backslash"),
        _ if segment.bytes().any(|byte| byte.is_ascii_control()) => Some("control character"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_hive_names_pass_unchanged() {
        let names = [
            "orders/dt=2026-01-01/hour=07/orders+0+000000000000+000000000010.parquet",
            "t/country=%2F..%2F/f.parquet",
            "t/name=Žluťoučký 🐎/f.parquet",
            "t/a.b=__HIVE_DEFAULT_PARTITION__/f+1.parquet",
            "t/v=a%25b=c/f.parquet",
        ];
        for name in names {
            assert_eq!(ObjectName::new(name).unwrap().as_str(), name);
            assert_eq!(object_store::path::Path::parse(name).unwrap().as_ref(), name);
        }
    }

    #[test]
    fn fault_68_names_cannot_leave_the_prefix() {
        let names = [
            "",
            "/etc/passwd",
            "a//b",
            "a/",
            "a/../b",
            "..",
            "a/./b",
            "a\\b",
            "a\0b",
            "a\nb",
            ".hidden/f",
            "a/.f",
        ];
        for name in names {
            assert!(ObjectName::new(name).is_err(), "{name:?} was taken");
        }
    }

    #[test]
    fn fault_71_names_too_long_for_a_backend_are_refused() {
        assert!(ObjectName::new("x".repeat(255)).is_ok());
        assert!(ObjectName::new("x".repeat(256)).is_err());
        let long = vec!["x".repeat(200); 6].join("/");
        assert!(long.len() > MAX_KEY_BYTES);
        assert!(ObjectName::new(long).is_err());
    }
}
