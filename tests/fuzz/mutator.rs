//! Owns a seeded mutator: inputs made of those of a corpus. The same seed gives the same inputs.

/// Makes inputs of other inputs.
pub(crate) struct Mutator {
    state: u64,
    words: &'static [&'static str],
}

const SCHEMA_WORDS: &[&str] = &[
    "\"null\"",
    "\"int\"",
    "\"long\"",
    "\"string\"",
    "\"bytes\"",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "[]",
    "{}",
    "[\"null\",",
    "\"type\":",
    "\"record\"",
    "\"enum\"",
    "\"fixed\"",
    "\"array\"",
    "\"map\"",
    "\"items\":",
    "\"values\":",
    "\"fields\":",
    "\"name\":",
    "\"namespace\":",
    "\"symbols\":",
    "\"size\":",
    "\"default\":",
    "\"aliases\":",
    "\"logicalType\":",
    "\"decimal\"",
    "\"precision\":",
    "\"scale\":",
    "\"uuid\"",
    "\"duration\"",
    "\"date\"",
    "\"R\"",
    "\"a.b\"",
    "\"\"",
    "2147483647",
    "-1",
    "0",
    "1e999",
    "\"\\u0000\"",
    "/*",
    "*/",
    "//",
    "\n",
    "\u{feff}",
    "{\"type\":\"array\",\"items\":",
    "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"f\",\"type\":",
];
const NAME_WORDS: &[&str] = &[
    "../",
    "..",
    "/",
    "\\",
    "\0",
    "%2F",
    "%",
    "=",
    "__HIVE_DEFAULT_PARTITION__",
    "+",
    "+000000000000",
    ".parquet",
    "é",
    "\u{202e}",
    "\n",
];
const INTENT_WORDS: &[&str] = &[
    "\"v\":1",
    "\"end\":",
    "\"schema\":",
    "\"plan\":\"",
    "\"wall\":",
    "{",
    "}",
    ",",
    "\"",
    "18446744073709551615",
    "9223372036854775807",
    "9223372036854775808",
    "-1",
    "0",
    "1e5",
    "null",
    "+ff",
];
const CONFIGURATION_WORDS: &[&str] = &[
    "version: 1\n",
    "connectors:\n",
    "  - ",
    "name: ",
    "kafka: ",
    "topics: [",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "<<: ",
    "!!binary ",
    "? ",
    "|\n",
    ">\n",
    "- ",
    ": ",
    "\n  ",
    "\t",
    "#",
    "\"",
    "'",
    "${SECRET}",
    "${MISSING:-",
    "$$",
    "${file:/nowhere}",
    "null",
    "~",
    "yes",
    "1e400",
    "0x10",
    "1GiB",
    "-5s",
    "99999999999999999999",
    "password: ${SECRET}\n",
    "url: file:///x\n",
    "rotate: {",
    "defaults:\n",
];
/// Varints at the edges, and beyond.
const VARINTS: &[&[u8]] = &[
    &[0],
    &[1],
    &[2],
    &[0x7F],
    &[0x80, 0x01],
    &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F],
    &[0xFE, 0xFF, 0xFF, 0xFF, 0x0F],
    &[0x80, 0x80, 0x80, 0x80, 0x10],
    &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
    &[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
    &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02],
    &[0x80, 0x80, 0x80, 0x00],
    &[0x80],
    &[0xC3, 0xA9],
    &[0xFF],
];

impl Mutator {
    pub(crate) fn new(seed: u64, target: &str) -> Self {
        let words = match target {
            "schema" => SCHEMA_WORDS,
            "names" => NAME_WORDS,
            "intent" => INTENT_WORDS,
            "configuration" => CONFIGURATION_WORDS,
            _ => &[],
        };
        let mut mutator = Self { state: (seed ^ fingerprint(target.as_bytes())) | 1, words };
        for _ in 0..8 {
            mutator.next();
        }
        mutator
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound
    }

    /// An input made of one of `corpus`, or of two.
    pub(crate) fn input(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let pick = self.below(corpus.len());
        let mut bytes = corpus[pick].clone();
        for _ in 0..=self.below(6) {
            self.change(&mut bytes, corpus);
        }
        bytes.truncate(100_000);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        let span = self.below(16).min(bytes.len() - at);
        match self.below(9) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..at + span)),
            2 => {
                let copy = bytes[at..at + span].to_vec();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            3 => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len() + 1);
                let length = self.below(200).min(other.len() - from);
                bytes.splice(at..at, other[from..from + length].iter().copied());
            }
            4 => {
                let varint = VARINTS[self.below(VARINTS.len())];
                bytes.splice(at..at + span.min(2), varint.iter().copied());
            }
            5 | 6 if !self.words.is_empty() => {
                let word = self.words[self.below(self.words.len())];
                let times = if self.below(40) == 0 { self.below(300) } else { 1 };
                bytes.splice(at..at + span.min(4), word.repeat(times).bytes());
            }
            7 if at < bytes.len() => bytes[at] = self.next() as u8,
            _ if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            _ => bytes.push(self.next() as u8),
        }
    }
}

/// FNV-1a, 64 bits.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}
