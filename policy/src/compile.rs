//! Model to the bytes of a `.snapshot` file: a header of 64 bytes and the archive behind it.
//!
//! ```text
//!  0  8  magic, "POSTERN" and a zero byte
//!  8  4  format version, little endian
//! 12  4  zero
//! 16  8  length of the archive in bytes, little endian
//! 24 32  SHA-256 of the archive
//! 56  8  zero
//! 64     the archive (rkyv, little endian, 32-bit relative pointers, aligned to 64 bytes)
//! ```
//!
//! Equal models give equal bytes, by the same release of Postern: the offsets of named time zones are those of its tz database.

use aws_lc_rs::digest::{SHA256, digest};
use rkyv::rancor;
use rkyv::util::AlignedVec;

use crate::archive::layout::Image;
use crate::model::Model;

/// Goes up with every change of the archive's layout or of the hash of its tables.
pub const FORMAT_VERSION: u32 = 2;

/// Bytes before the archive.
pub const HEADER: usize = 64;

/// Of the file in memory, and so of the archive in it, bytes: the cache line that the hot records fill.
pub const ALIGNMENT: usize = 64;

const MAGIC: [u8; 8] = *b"POSTERN\0";

/// Why a model has no snapshot. A model that passed `check` meets only `TooLarge` and `TooMany`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CompileFault {
    #[error("unknown {kind} `{name}`")]
    Dangling { kind: &'static str, name: String },
    #[error("`{name}` is longer than a database name can be (63 bytes)")]
    NameTooLong { name: String },
    #[error("{count} {what} are more than a snapshot holds (65,535)")]
    TooMany { what: &'static str, count: usize },
    #[error("the policy does not fit into a snapshot (2 GiB)")]
    TooLarge,
}

impl CompileFault {
    pub(crate) fn dangling(kind: &'static str, name: &str) -> Self {
        Self::Dangling {
            kind,
            name: name.to_owned(),
        }
    }
}

/// The snapshot of `model`. It does not judge the policy: run `check` first; loading checks again.
pub fn compile(model: &Model) -> Result<Vec<u8>, CompileFault> {
    let image = Image::of(model)?;
    let mut bytes = AlignedVec::<ALIGNMENT>::new();
    bytes.resize(HEADER, 0);
    let mut bytes =
        rkyv::api::high::to_bytes_in::<_, rancor::Failure>(&image, bytes).map_err(|_| CompileFault::TooLarge)?;
    if bytes.len() > i32::MAX as usize {
        return Err(CompileFault::TooLarge);
    }
    let header = Header::of(&bytes[HEADER..]).encode();
    bytes[..HEADER].copy_from_slice(&header);
    Ok(bytes.to_vec())
}

/// What stands before the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub version: u32,
    pub length: u64,
    pub hash: [u8; 32],
}

impl Header {
    pub fn of(archive: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, archive).as_ref());
        Self {
            version: FORMAT_VERSION,
            length: archive.len() as u64,
            hash,
        }
    }

    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.length.to_le_bytes());
        bytes[24..56].copy_from_slice(&self.hash);
        bytes
    }

    /// `None` where magic or the zero bytes are others.
    pub fn decode(bytes: &[u8; HEADER]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (version, rest) = rest.split_first_chunk::<4>()?;
        let (zero, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let (hash, end) = rest.split_first_chunk::<32>()?;
        let whole = *magic == MAGIC && *zero == [0; 4] && *end == [0; 8];
        let header = Self {
            version: u32::from_le_bytes(*version),
            length: u64::from_le_bytes(*length),
            hash: *hash,
        };
        whole.then_some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use crate::snapshot::Snapshot;

    #[test]
    fn what_was_compiled_says_the_same() {
        for model in [Model::default(), sample::policy()] {
            let snapshot = Snapshot::of(&model, 1).unwrap();
            assert_eq!(snapshot.model().unwrap(), model);
        }
    }

    #[test]
    fn equal_models_give_equal_bytes_whatever_was_put_in_first() {
        let model = sample::policy();
        let mut shuffled = Model {
            identities: Default::default(),
            grants: Default::default(),
            ..model.clone()
        };
        for (name, identity) in model.identities.iter().rev() {
            shuffled.identities.insert(name.clone(), identity.clone());
        }
        for (name, grant) in model.grants.iter().rev() {
            shuffled.grants.insert(name.clone(), grant.clone());
        }
        assert_eq!(compile(&model).unwrap(), compile(&shuffled).unwrap());
    }

    #[test]
    fn a_name_that_leads_nowhere_is_a_fault() {
        let mut model = sample::policy();
        model.groups.remove("people");
        assert_eq!(compile(&model).unwrap_err(), CompileFault::dangling("group", "people"));
    }
}
