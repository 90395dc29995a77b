//! Process configuration: `postern.toml`, read once at start. `docs/configuration.md` has every key.
//!
//! What may change while the gate runs (who may reach what, credentials) is policy and does not belong here. Every value is
//! checked when it is read, so a [`Config`] is valid as a whole; faults come all at once, each with its place.

mod model;
mod read;
mod source;
mod table;
mod units;
mod words;

use std::path::Path;

use postern_policy::fault::{Fault, Faults};

pub use model::*;
pub use read::parse;

/// Largest configuration that is read: a text of this kind has a few kilobytes.
const LARGEST: u64 = 1 << 20;

/// Reads the configuration at `path`.
///
/// # Errors
/// Where the file cannot be read, and everything that is wrong with it, at once.
pub fn load(path: &Path) -> Result<Config, Faults> {
    let name = path.display().to_string();
    let whole = |message: String| Faults::from(Fault::of_file(name.clone(), message));
    let size = std::fs::metadata(path)
        .map_err(|error| whole(format!("cannot be read: {error}")))?
        .len();
    if size > LARGEST {
        return Err(whole(format!(
            "has {size} bytes; a configuration has at most {LARGEST}"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|error| whole(format!("cannot be read: {error}")))?;
    let directory = std::path::absolute(path).map_err(|error| whole(format!("cannot be located: {error}")))?;
    parse(&name, &text, directory.parent().unwrap_or(Path::new("/")))
}
