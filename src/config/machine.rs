//! Owns how much memory the process may use. Does not own how much of it is the budget.

use std::fs;
use std::path::{Path, PathBuf};

/// Taken for the memory of a machine that tells nothing: small enough to be there.
const UNKNOWN_MACHINE_BYTES: u64 = 1 << 30;

/// The smallest of the limits of the process's control groups and of the machine's memory, in bytes.
///
/// `root` is where `proc` and `sys` are mounted: `/`. Reads control groups of version 2 (`memory.max`) and 1
/// (`memory.limit_in_bytes`), each from the process's own group up to the top that is visible.
pub(super) fn memory_bytes(root: &Path) -> u64 {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().flat_map(|line| limits_of_group(root, line));
    limits.chain(machine_bytes(root)).filter(|bytes| *bytes > 0).min().unwrap_or(UNKNOWN_MACHINE_BYTES)
}

/// The limits along one line `id:controllers:path` of `/proc/self/cgroup`, see `cgroups(7)`.
fn limits_of_group(root: &Path, line: &str) -> Vec<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (mount, file) = if controllers.is_empty() {
        (root.join("sys/fs/cgroup"), "memory.max")
    } else if controllers.split(',').any(|name| name == "memory") {
        (root.join("sys/fs/cgroup/memory"), "memory.limit_in_bytes")
    } else {
        return Vec::new();
    };
    let group = PathBuf::from(path.trim_start_matches('/'));
    // In a container the path is often that of the host, of which only the top is mounted.
    group
        .ancestors()
        .filter_map(|group| fs::read_to_string(mount.join(group).join(file)).ok())
        .filter_map(|content| content.trim().parse().ok())
        .collect()
}

/// `MemTotal` of `/proc/meminfo`, see `proc_meminfo(5)`.
fn machine_bytes(root: &Path) -> Option<u64> {
    let content = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = content.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> u64 {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        memory_bytes(root.path())
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        1000 kB\nMemFree:  1 kB\n");

    #[test]
    fn without_limits_it_is_the_memory_of_the_machine() {
        assert_eq!(machine(&[MEMINFO]), 1_024_000);
        let unlimited = [MEMINFO, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "max\n")];
        assert_eq!(machine(&unlimited), 1_024_000);
        assert_eq!(machine(&[]), UNKNOWN_MACHINE_BYTES);
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let nested = [
            MEMINFO,
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/memory.max", "700000\n"),
            ("sys/fs/cgroup/a/memory.max", "600000\n"),
        ];
        assert_eq!(machine(&nested), 600_000);
        let container =
            [MEMINFO, ("proc/self/cgroup", "0::/host/only\n"), ("sys/fs/cgroup/memory.max", "500000\n")];
        assert_eq!(machine(&container), 500_000);
    }

    #[test]
    fn version_1_counts_only_where_memory_is_controlled() {
        let groups = ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/x\n");
        let limit = ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "400000\n");
        let top = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(machine(&[MEMINFO, groups, limit, top]), 400_000);
        assert_eq!(machine(&[MEMINFO, groups, top]), 1_024_000);
    }
}
