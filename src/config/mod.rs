//! From YAML to validated [`settings`]. Owns the configuration's form, defaults and messages; does not own what
//! the settings do.

pub mod settings;
