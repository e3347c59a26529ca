//! Damaged configurations: whatever the text, there is an answer, and every error has a place inside the text.

use super::super::load_str;

const TEXT: &str = include_str!("../../../connectors.yaml");

/// What makes YAML or the configuration turn in another direction.
const PIECES: &[&str] = &[
    "", " ", "\n", "\t", "\r\n", ":", ": ", "- ", "{", "}", "[", "]", "'", "\"", "&a ", "*a", "<<: ",
    "!!str ", "|", ">", "#", "---\n", "...", "%", "?", ",", "$", "${", "${A}", "${B:-", "~", "0", "-1",
    "1e3", "\\", "\u{feff}", "\u{0}", "é", "\u{202e}", "%D", "://", "^", "zstd(",
];

/// xorshift64*: a sequence that is the same in every run.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end
    }
}

/// The text's comments cost time and test little.
fn without_comments() -> String {
    TEXT.split_inclusive('\n').filter(|line| !line.trim_start().starts_with('#')).collect()
}

fn mutated(original: &str, random: &mut Sequence) -> String {
    let mut chars: Vec<char> = original.chars().collect();
    for _ in 0..=random.below(4) {
        let at = random.below(chars.len() + 1);
        let end = (at + random.below(12)).min(chars.len());
        match random.below(4) {
            0 => drop(chars.splice(at..end, [])),
            1 => drop(chars.splice(at..at, PIECES[random.below(PIECES.len())].chars())),
            2 => drop(chars.splice(at..end, PIECES[random.below(PIECES.len())].chars())),
            _ => {
                let copied: Vec<char> = chars[at..end].to_vec();
                let to = random.below(chars.len() + 1);
                drop(chars.splice(to..to, copied));
            }
        }
    }
    chars.into_iter().collect()
}

#[test]
fn a_damaged_configuration_never_panics() {
    let environment = |name: &str| (name == "A").then(|| "a: [1".to_owned());
    let original = without_comments();
    let mut random = Sequence(0x5EED);
    let mut refusals = 0;
    for _ in 0..3000 {
        let text = mutated(&original, &mut random);
        let Err(errors) = load_str(&text, &environment) else { continue };
        refusals += 1;
        let lines = text.split(['\n', '\r']).count() + 1;
        for error in &errors {
            assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error}\n{text}");
            assert!(!error.message.contains('\n'), "{error}");
        }
    }
    assert!(refusals > 300, "the damage is seen: {refusals}");
}

#[test]
fn every_beginning_of_a_configuration_has_an_answer() {
    let original = without_comments();
    let ends = original.char_indices().map(|(at, _)| at).step_by(7);
    let refusals = ends.filter(|end| load_str(&original[..*end], &|_| None).is_err()).count();
    assert!(refusals > 50, "half a file is noticed: {refusals}");
}
