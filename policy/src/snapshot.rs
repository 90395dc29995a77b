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
use crate::check::{ModelFault, check};
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
    /// As the text would be refused.
    #[error("the snapshot breaks the rules of a policy: {}", in_words(.0))]
    Policy(Vec<ModelFault>),
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
        let (snapshot, shared_keys) = Self::structurally_sound(bytes, generation)?;
        let faults = check(&snapshot.image().model_to_check(&shared_keys)?);
        if faults.is_empty() {
            Ok(snapshot)
        } else {
            Err(SnapshotFault::Policy(faults))
        }
    }

    /// Compiles a model that has passed `check`, as every model from `text` has: its rules are not checked once more.
    pub fn of(model: &Model, generation: u64) -> Result<Self, SnapshotFault> {
        let bytes = Box::new(HeapBytes::copy_of(&compile(model)?));
        Self::structurally_sound(bytes, generation).map(|(snapshot, _)| snapshot)
    }

    /// Everything but the rules of the policy; beside it the owners of keys that more than one entry has.
    fn structurally_sound(bytes: Box<dyn SnapshotBytes>, generation: u64) -> Result<(Self, Vec<u32>), SnapshotFault> {
        let hash = check_header(bytes.bytes())?;
        let image = rkyv::access::<ArchivedImage, rancor::Error>(archive(bytes.bytes()))
            .map_err(|error| SnapshotFault::Layout(error.to_string()))?;
        let shared_keys = image.verify()?;
        image.model_without_identities()?;
        let snapshot = Self {
            bytes,
            hash,
            generation,
        };
        Ok((snapshot, shared_keys))
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
        // SAFETY: `structurally_sound`, the only constructor, has run bytecheck (`rkyv::access`) over this very range, and the contract of
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

/// The first fault, and how many more there are.
fn in_words(faults: &[ModelFault]) -> String {
    match faults {
        [] => String::new(),
        [only] => only.to_string(),
        [first, more @ ..] => format!("{first} (and {} more)", more.len()),
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

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn load(bytes: &[u8]) -> Result<Snapshot, SnapshotFault> {
        Snapshot::load(Box::new(HeapBytes::copy_of(bytes)), 1)
    }

    /// A snapshot whose header is right for whatever its archive has become.
    fn sealed_again(mut bytes: Vec<u8>) -> Vec<u8> {
        let header = Header::of(&bytes[HEADER..]).encode();
        bytes[..HEADER].copy_from_slice(&header);
        bytes
    }

    #[test]
    fn loads_what_compile_made() {
        let snapshot = load(&compile(&sample::policy()).unwrap()).unwrap();
        assert_eq!((snapshot.generation(), snapshot.identity_count()), (1, 7));
    }

    #[test]
    fn every_flipped_byte_is_refused() {
        let bytes = compile(&sample::policy()).unwrap();
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 0x10;
            assert!(load(&flipped).is_err(), "byte {place}");
        }
    }

    #[test]
    fn every_truncation_and_every_addition_is_refused() {
        let bytes = compile(&sample::policy()).unwrap();
        for length in 0..bytes.len() {
            assert!(load(&bytes[..length]).is_err(), "{length} bytes");
        }
        assert!(matches!(
            load(&[bytes.as_slice(), &[0]].concat()),
            Err(SnapshotFault::Length { .. })
        ));
    }

    /// Not a promise (whoever can write a hash can write a policy): no byte makes loading panic, and what does load says a
    /// policy that compiles to the very same archive, its DER and time zones apart.
    #[test]
    fn flipped_bytes_under_a_right_hash_are_refused_or_are_another_policy() {
        let bytes = compile(&sample::policy()).unwrap();
        for place in HEADER..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 0x01;
            let flipped = sealed_again(flipped);
            let Ok(snapshot) = load(&flipped) else { continue };
            let model = snapshot.model().unwrap();
            let again = load(&compile(&model).unwrap()).unwrap();
            assert_eq!(again.model().unwrap(), model, "byte {place}");
        }
    }

    #[test]
    fn another_version_says_so() {
        let mut bytes = compile(&Model::default()).unwrap();
        bytes[8] = 99;
        assert!(matches!(load(&bytes), Err(SnapshotFault::Version(99))));
    }

    #[test]
    fn an_address_off_the_cache_line_is_refused() {
        struct Shifted(AlignedVec<ALIGNMENT>);
        #[allow(unsafe_code, reason = "see SAFETY")]
        // SAFETY: as `HeapBytes`.
        unsafe impl SnapshotBytes for Shifted {
            fn bytes(&self) -> &[u8] {
                &self.0[8..]
            }
        }
        let mut shifted = AlignedVec::new();
        shifted.extend_from_slice(&[0; 8]);
        shifted.extend_from_slice(&compile(&Model::default()).unwrap());
        assert!(matches!(
            Snapshot::load(Box::new(Shifted(shifted)), 1),
            Err(SnapshotFault::Misaligned)
        ));
    }

    #[test]
    fn hot_records_are_whole_cache_lines() {
        let snapshot = Snapshot::of(&sample::policy(), 1).unwrap();
        let image = snapshot.image();
        assert_eq!(image.identities.as_ptr() as usize % 64, 0);
        assert_eq!(image.grants.as_ptr() as usize % 64, 0);
    }

    #[test]
    fn a_policy_that_the_text_would_not_get_through_is_refused() {
        let mut model = sample::policy();
        model.identities.get_mut("backup").unwrap().scram = None;
        let fault = load(&compile(&model).unwrap()).unwrap_err();
        assert!(matches!(&fault, SnapshotFault::Policy(_)), "{fault}");
        assert!(
            fault
                .to_string()
                .contains("identity `backup`: nothing proves this identity"),
            "{fault}"
        );
    }
}
