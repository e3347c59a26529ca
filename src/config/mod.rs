//! From YAML to validated [`settings`]. Owns the configuration's form, defaults and messages; does not own what
//! the settings do.
//!
//! A text becomes a tree that knows its places (`parse`, `tree`), references are replaced (`reference`), `defaults`
//! are laid under every connector, and the sections are read key by key (`section`, `value`). Problems are collected
//! on the way (`problem`), so that one run names all of them.

mod conflict;
mod connector;
mod daemon;
mod document;
mod files;
mod formats;
mod kafka;
mod machine;
mod named_files;
mod nearest;
mod parse;
mod partition;
mod problem;
mod properties;
mod quantity;
mod reference;
mod registry;
mod secret;
mod section;
pub mod settings;
mod storage;
#[cfg(test)]
mod tests;
mod tree;
mod value;

pub use document::{load, load_str};
pub(crate) use nearest::suggestion;
pub use partition::{left_sides, path_elements};
pub use problem::{ConfigError, ConfigErrors};
#[cfg(test)]
pub(crate) use properties::dead_letter_fault;
pub(crate) use properties::number_fault;
pub use reference::expanded;
