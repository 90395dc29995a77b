//! Whether the tables behind the identities are packed as the compiler packs them: piece by piece in the order of the
//! identities, no piece left over and none used twice. Anything else could make two identities share a key unseen.

use super::layout::*;
use super::read::Astray;
use super::verify::{Inconsistent, Verified};

/// How far each table is used up by the identities so far.
#[derive(Default)]
pub struct Packing {
    overflowing_groups: u32,
    aliases: u32,
    keys: u32,
    verifiers: u32,
    /// By kind of key.
    filed: [u32; key_kind::COUNT],
}

impl Packing {
    /// The next identity: its pieces begin where those of the one before end.
    pub fn add(&mut self, image: &ArchivedImage, number: u32, record: &ArchivedIdentityRecord) -> Verified {
        let groups = record.group_count.to_native();
        if groups as usize > INLINE_GROUPS {
            follows(&mut self.overflowing_groups, record.groups[0].to_native(), groups)?;
        } else if record.groups.iter().skip(groups as usize).any(|unused| *unused != 0) {
            return Err(Inconsistent::Order("groups of an identity"));
        }
        follows(
            &mut self.aliases,
            record.aliases.to_native(),
            record.alias_count.to_native().into(),
        )?;
        follows(
            &mut self.keys,
            record.keys.to_native(),
            record.key_count.to_native().into(),
        )?;
        if let Some(place) = record.scram.to_native().checked_sub(1) {
            follows(&mut self.verifiers, place, 1)?;
        }
        for key in image.keys_of(record)? {
            let (kind, place) = (key.kind.to_native(), key.place.to_native());
            follows(self.filed.get_mut(kind as usize).ok_or(Astray)?, place, 1)?;
            if image.keys.owner(kind, place) != Some(number) {
                return Err(Astray.into());
            }
        }
        Ok(())
    }

    /// Nothing is left over.
    pub fn finish(self, image: &ArchivedImage) -> Verified {
        let keys = &image.keys;
        let used = [self.overflowing_groups, self.aliases, self.keys, self.verifiers];
        let whole = [
            image.identity_groups.len(),
            image.aliases.len(),
            image.identity_keys.len(),
            image.scram.len(),
        ];
        let filed = [
            keys.fingerprints.len(),
            keys.public_keys.len(),
            keys.uris.len(),
            keys.uri_patterns.len(),
            keys.dns.len(),
            keys.common_names.len(),
            keys.subjects.len(),
            keys.subject_patterns.len(),
        ];
        let same = |used: &[u32], whole: &[usize]| used.iter().map(|count| *count as usize).eq(whole.iter().copied());
        if same(&used, &whole) && same(&self.filed, &filed) {
            Ok(())
        } else {
            Err(Inconsistent::Order("pieces of the identities"))
        }
    }
}

impl ArchivedKeyTables {
    fn owner(&self, kind: u32, place: u32) -> Option<u32> {
        let place = place as usize;
        let pin = |table: &[ArchivedPinRecord]| Some(table.get(place)?.owner.to_native());
        let name = |table: &[ArchivedNameRecord]| Some(table.get(place)?.owner.to_native());
        match kind {
            key_kind::FINGERPRINT => pin(&self.fingerprints),
            key_kind::PUBLIC_KEY => pin(&self.public_keys),
            key_kind::URI => name(&self.uris),
            key_kind::URI_PATTERN => name(&self.uri_patterns),
            key_kind::DNS => name(&self.dns),
            key_kind::COMMON_NAME => name(&self.common_names),
            key_kind::SUBJECT => name(&self.subjects),
            key_kind::SUBJECT_PATTERN => name(&self.subject_patterns),
            8.. => None,
        }
    }
}

fn follows(end: &mut u32, start: u32, length: u32) -> Verified {
    if *end != start {
        return Err(Inconsistent::Order("pieces of the identities"));
    }
    *end = start.checked_add(length).ok_or(Astray)?;
    Ok(())
}
