//! Process configuration: `postern.toml`.
