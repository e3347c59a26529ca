//! Owns running totals over the open files of a flush: they are asked for at every record block and wake-up, and there may be
//! thousands of files. Does not own the files.

/// What all files of a flush come to.
#[derive(Debug, Default)]
pub(super) struct FileTotals {
    memory_bytes: usize,
    size: Largest<u64>,
    memory: Largest<usize>,
}

/// What one file has: its memory, and the estimate of its size, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FileWeight {
    pub(super) memory_bytes: usize,
    pub(super) size_bytes: u64,
}

/// The largest of many values that change one at a time, and whose it is.
#[derive(Debug, Default)]
struct Largest<T> {
    value: T,
    file: usize,
}

impl FileTotals {
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Memory of the file that has most.
    pub(super) fn largest_memory_bytes(&self) -> usize {
        self.memory.value
    }

    /// Estimated size of the largest file.
    pub(super) fn largest_size_bytes(&self) -> u64 {
        self.size.value
    }

    /// A file has changed. `all` are the files and their weights as they are now; they are only asked for when the largest
    /// has become smaller.
    pub(super) fn change<I: Iterator<Item = (usize, FileWeight)>>(
        &mut self,
        file: usize,
        before: FileWeight,
        after: FileWeight,
        all: impl Fn() -> I,
    ) {
        self.memory_bytes = self.memory_bytes - before.memory_bytes + after.memory_bytes;
        self.memory
            .change(file, after.memory_bytes, || all().map(|(file, weight)| (weight.memory_bytes, file)));
        self.size.change(file, after.size_bytes, || all().map(|(file, weight)| (weight.size_bytes, file)));
    }
}

impl<T: Copy + Ord> Largest<T> {
    fn change<I: Iterator<Item = (T, usize)>>(&mut self, file: usize, value: T, all: impl Fn() -> I) {
        if value >= self.value {
            (self.value, self.file) = (value, file);
        } else if file == self.file {
            (self.value, self.file) = all().max().unwrap_or((value, file));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_what_a_walk_over_all_files_would_find() {
        let mut weights = [FileWeight::default(); 7];
        let mut totals = FileTotals::default();
        let mut random = 1_u64;
        for _ in 0..10_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let file = (random >> 40) as usize % weights.len();
            let after =
                FileWeight { memory_bytes: (random >> 33) as usize % 50, size_bytes: (random >> 50) % 50 };
            let before = std::mem::replace(&mut weights[file], after);
            totals.change(file, before, after, || weights.iter().copied().enumerate());
            let sum: usize = weights.iter().map(|weight| weight.memory_bytes).sum();
            assert_eq!(totals.memory_bytes(), sum);
            let most = weights.iter().map(|weight| weight.memory_bytes).max();
            assert_eq!(Some(totals.largest_memory_bytes()), most);
            let largest = weights.iter().map(|weight| weight.size_bytes).max();
            assert_eq!(Some(totals.largest_size_bytes()), largest);
        }
    }
}
