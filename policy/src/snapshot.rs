//! A compiled policy in force: immutable bytes, checked once, read in place ever after.
//!
//! The one unsafe block of the policy crate is here: reading the archive without checking its layout again.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use rkyv::rancor;
use rkyv::util::AlignedVec;

use crate::archive::layout::ArchivedImage;
use crate::archive::read::Astray;
use crate::archive::verify::Inconsistent;
use crate::compile::{ALIGNMENT, CompileFault, FORMAT_VERSION, HEADER, Header, compile};
use crate::model::Model;

/// Where a snapshot's bytes live.
///
/// # Safety
///
/// From the first call of `bytes` until the value is dropped, every call returns the same memory and nothing changes a byte
/// of it: no other process, no other mapping, no interior mutability. A mapped file does not do; sealed memory does.
#[allow(
    unsafe_code,
    reason = "the promise that makes unchecked reads sound is the implementor's"
)]
pub unsafe trait SnapshotBytes: Send + Sync {
    /// The whole file, header first, aligned to 64 bytes.
    fn bytes(&self) -> &[u8];
}

/// Bytes in ordinary memory of this process: for tests, tools and a policy that was just compiled from text.
pub struct HeapBytes(AlignedVec<ALIGNMENT>);

impl HeapBytes {
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut aligned = AlignedVec::with_capacity(bytes.len());
        aligned.extend_from_slice(bytes);
        Self(aligned)
    }
}

#[allow(unsafe_code, reason = "see SAFETY")]
// SAFETY: the vector is private, is never handed out mutably and does not move its heap memory when the value moves.
unsafe impl SnapshotBytes for HeapBytes {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Why bytes are not a policy. The file changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFault {
    #[error("not a snapshot of Postern")]
    NotASnapshot,
    #[error("the snapshot has format version {0}, this Postern reads {FORMAT_VERSION}: compile it again")]
    Version(u32),
    #[error("the snapshot has {got} bytes of policy where its header says {wanted}: it was cut off or added to")]
    Length { wanted: u64, got: u64 },
    #[error("the content of the snapshot does not have the hash in its header")]
    Hash,
    #[error("the snapshot stands at an address that is not a multiple of 64")]
    Misaligned,
    #[error("the snapshot's layout is broken: {0}")]
    Layout(String),
    #[error(transparent)]
    Inconsistent(#[from] Inconsistent),
    #[error(transparent)]
    Compile(#[from] CompileFault),
}

impl From<Astray> for SnapshotFault {
    fn from(astray: Astray) -> Self {
        Self::Inconsistent(astray.into())
    }
}

/// A policy that decisions are made against. Shared by all cores; ids of one snapshot mean nothing in another.
pub struct Snapshot {
    bytes: Box<dyn SnapshotBytes>,
    hash: [u8; 32],
    generation: u64,
}

impl Snapshot {
    /// Checks everything: header, hash, layout, references, indexes, and each rule that policy text must keep.
    /// `generation` is the caller's running number of policies in force.
    pub fn load(bytes: Box<dyn SnapshotBytes>, generation: u64) -> Result<Self, SnapshotFault> {
        let hash = check_header(bytes.bytes())?;
        let image = rkyv::access::<ArchivedImage, rancor::Error>(archive(bytes.bytes()))
            .map_err(|error| SnapshotFault::Layout(error.to_string()))?;
        image.verify()?;
        image.model_without_identities()?;
        Ok(Self {
            bytes,
            hash,
            generation,
        })
    }

    /// Compiles and loads in one step: the way of a policy that was read from text.
    pub fn of(model: &Model, generation: u64) -> Result<Self, SnapshotFault> {
        Self::load(Box::new(HeapBytes::copy_of(&compile(model)?)), generation)
    }

    /// The running number it was loaded with.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// SHA-256 of the archive: equal policies have equal hashes.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// How many identities the policy knows.
    pub fn identity_count(&self) -> usize {
        self.image().identities.len()
    }

    /// The policy in the words of the model. Costs time and memory by the identity: for people, not for decisions.
    pub fn model(&self) -> Result<Model, SnapshotFault> {
        Ok(self.image().model()?)
    }

    #[allow(unsafe_code, reason = "see SAFETY")]
    pub(crate) fn image(&self) -> &ArchivedImage {
        // SAFETY: `load`, the only constructor, has run bytecheck (`rkyv::access`) over this very range, and the contract of
        // `SnapshotBytes` (upheld by sealed memory in `control`, by ownership in `HeapBytes`) says that neither its address
        // nor any of its bytes has changed since; `self` owns them as long as the reference lives.
        unsafe { rkyv::access_unchecked::<ArchivedImage>(archive(self.bytes.bytes())) }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

fn archive(bytes: &[u8]) -> &[u8] {
    bytes.get(HEADER..).unwrap_or_default()
}

/// Everything of the header; the hash it names is the hash of the archive.
fn check_header(bytes: &[u8]) -> Result<[u8; 32], SnapshotFault> {
    let (header, archive) = bytes.split_first_chunk::<HEADER>().ok_or(SnapshotFault::NotASnapshot)?;
    let header = Header::decode(header).ok_or(SnapshotFault::NotASnapshot)?;
    if header.version != FORMAT_VERSION {
        return Err(SnapshotFault::Version(header.version));
    }
    let got = archive.len() as u64;
    if header.length != got {
        return Err(SnapshotFault::Length {
            wanted: header.length,
            got,
        });
    }
    if digest(&SHA256, archive).as_ref() != header.hash {
        return Err(SnapshotFault::Hash);
    }
    if bytes.as_ptr().align_offset(ALIGNMENT) != 0 {
        return Err(SnapshotFault::Misaligned);
    }
    Ok(header.hash)
}
