//! A policy of the size that Postern is made for: a million identities in eight of 5,000 groups each, 10,000 grants, 1,000
//! of the identities known by a SPIFFE pattern, 1,000 denies. The same for the same seed, and sound: `check` passes it.
//!
//! It is no easy one. Groups contest each other's databases with different effect, so that every identity is looked at for
//! ties; plain SPIFFE IDs have as many segments as the patterns, so that each is tried against their shapes; grants are
//! by exact name, by prefix and for `*`, some with networks, hours and limits.

mod identities;
mod questions;
mod random;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use postern_policy::model::{Grant, Model, NamePattern, Provider, ScramVerifier};

pub use questions::{Key, Kind, NOW, Question, Questions, Share};

pub const IDENTITIES: usize = 1_000_000;
pub const GROUPS: usize = 5_000;
pub const GROUPS_OF_AN_IDENTITY: usize = 8;
pub const GRANTS: usize = 10_000;
pub const PATTERNS: usize = 1_000;
pub const DENIES: usize = 1_000;

/// The provider and trust domain of every SPIFFE ID.
pub const PROVIDER: &str = "corp";
/// Of every verifier; PostgreSQL's default.
pub const ITERATIONS: u32 = 4_096;

/// Groups with the same remainder have grants for the same databases; an identity is in no two of those.
const CIRCLES: usize = 1_000;

#[derive(Debug, Clone)]
pub struct Sample {
    pub seed: u64,
    /// At least [`PATTERNS`]; everything else keeps its number.
    pub identities: usize,
    /// Of the one server.
    pub port: u16,
    /// Of every role.
    pub password_file: String,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            seed: 1,
            identities: IDENTITIES,
            port: 5432,
            password_file: "secrets/role".to_owned(),
        }
    }
}

/// # Errors
/// Where the authority's certificate cannot be made.
pub fn model(sample: &Sample) -> Result<Model, rcgen::Error> {
    let authority = Provider::CertificateAuthority(identities::authority(sample.seed)?);
    Ok(Model {
        providers: BTreeMap::from([(PROVIDER.to_owned(), authority)]),
        identities: identities::all(sample),
        groups: (0..GROUPS).map(group).collect(),
        group_mappings: BTreeSet::new(),
        revocations: BTreeMap::new(),
        clusters: rules::clusters(sample),
        grants: rules::grants(sample),
        denies: rules::denies(sample),
        authentication: rules::authentication(),
    })
}

/// Lets one of the identities log in with a password of the caller's, to this database as this role: a grant that names
/// an identity takes the place of another such grant, so all numbers stay.
///
/// Returns the identity's name.
pub fn admit(model: &mut Model, verifier: ScramVerifier, database: &str, role: &str) -> Option<String> {
    let chosen = model.identities.iter().filter(|(_, identity)| identity.scram.is_some());
    let name = chosen
        .skip(100_000.min(model.identities.len() / 10))
        .map(|(name, _)| name)
        .next()?
        .clone();
    model.identities.get_mut(&name)?.scram = Some(verifier);
    let place = model
        .grants
        .keys()
        .rfind(|name| name.starts_with(rules::OF_ONE))?
        .clone();
    let grant: &mut Grant = model.grants.get_mut(&place)?;
    grant.subjects.identities = [name.clone()].into();
    grant.databases = vec![NamePattern::Exact(database.to_owned())];
    grant.conditions = Default::default();
    grant.role = role.to_owned();
    let cluster = grant.cluster.named()?.to_owned();
    let credential = rules::credential(model.clusters.get(&cluster)?)?;
    model
        .clusters
        .get_mut(&cluster)?
        .roles
        .insert(role.to_owned(), credential);
    Some(name)
}

fn group(number: usize) -> String {
    format!("team-{number:04}")
}

fn number_of_group(name: &str) -> Option<usize> {
    name.strip_prefix("team-")?.parse().ok()
}

/// The database that the groups of this circle have grants for.
fn database(circle: usize) -> String {
    format!("app_{circle:03}")
}

/// And their further databases begin like this.
fn prefix(circle: usize) -> String {
    format!("tenant_{circle:03}_")
}

#[cfg(test)]
mod tests {
    use postern_policy::check::check;
    use postern_policy::compile::compile;
    use postern_policy::model::IdentityKey;
    use postern_policy::snapshot::{HeapBytes, Snapshot};

    use super::*;

    fn small() -> Sample {
        Sample {
            identities: 20_000,
            ..Sample::default()
        }
    }

    #[test]
    fn has_what_it_promises_and_is_sound() {
        let model = model(&small()).unwrap();
        assert_eq!(check(&model), []);
        assert_eq!(model.identities.len(), 20_000);
        assert_eq!(
            (model.groups.len(), model.grants.len(), model.denies.len()),
            (5_000, 10_000, 1_000)
        );
        assert!(model.identities.values().all(|identity| identity.groups.len() == 8));
        let keys = model.identities.values().flat_map(|identity| &identity.keys);
        let pattern = |key: &&IdentityKey| matches!(key, IdentityKey::Uri { pattern, .. } if pattern.contains('*'));
        assert_eq!(keys.filter(pattern).count(), 1_000);
    }

    #[test]
    fn is_the_same_for_the_same_seed_only() {
        let bytes = |seed| compile(&model(&Sample { seed, ..small() }).unwrap()).unwrap();
        assert!(bytes(1) == bytes(1));
        assert!(bytes(1) != bytes(2));
    }

    #[test]
    fn the_identity_let_in_is_one_of_them() {
        let mut model = model(&small()).unwrap();
        let verifier = model
            .identities
            .values()
            .find_map(|identity| identity.scram.clone())
            .unwrap();
        let name = admit(&mut model, verifier, "bench", "bench").unwrap();
        assert!(model.identities.contains_key(&name));
        assert_eq!((model.identities.len(), model.grants.len()), (20_000, 10_000));
        assert_eq!(check(&model), []);
    }

    /// What is asked is answered as the question expects, so that what is measured is what is said to be.
    #[test]
    fn questions_know_their_answers() {
        let model = model(&small()).unwrap();
        let snapshot = Snapshot::load(Box::new(HeapBytes::copy_of(&compile(&model).unwrap())), 1).unwrap();
        let provider = [snapshot.certificate_authorities().next().unwrap().0];
        for share in Share::ALL {
            let questions = Questions::draw(&model, 7, 3_000, share);
            let mut hits = 0;
            for question in &questions.0 {
                let found = question.ask(|lookup| lookup.resolve(&snapshot, &provider));
                assert_eq!(found.is_some(), question.known, "{question:?}");
                let Some(identity) = found else { continue };
                let decided = snapshot.decide(&question.facts(identity));
                assert_eq!(decided.is_ok(), question.granted, "{question:?}: {decided:?}");
                hits += usize::from(question.granted);
            }
            let share_of_hits = hits as f64 / 3_000.0;
            assert!((0.66..0.74).contains(&share_of_hits), "{share:?}: {share_of_hits}");
        }
    }
}
