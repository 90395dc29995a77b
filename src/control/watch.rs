//! Which files matter, and the news that one of them changed.
//!
//! Watched are directories, never files: a rename over a file and a symlink swap are events of the directory. The watcher
//! runs on a thread of its own and only raises a flag and a wake-up; what to do about it is decided elsewhere. Because a
//! network file system tells nothing, and because a directory can itself be replaced, [`Interest::signature`] is compared
//! every few seconds as well.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// What a change concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concern {
    /// The policy's own directory, or a file its text refers to.
    Policy,
    /// Passwords, keys and certificates.
    Secrets,
}

/// The files that matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interest {
    /// Every file in it matters.
    pub directory: PathBuf,
    pub files: BTreeMap<PathBuf, Concern>,
}

impl Interest {
    /// What a change at `path` concerns. Kubernetes' own links (`..data`) stand for every file beside them.
    pub fn concern(&self, path: &Path) -> Option<Concern> {
        let parent = path.parent();
        if path == self.directory || parent == Some(&self.directory) {
            return Some(Concern::Policy);
        }
        if let Some(concern) = self.files.get(path) {
            return Some(*concern);
        }
        let swapped = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
        let beside = |file: &&PathBuf| swapped && file.parent() == parent;
        self.files
            .iter()
            .filter(|(file, _)| beside(file))
            .map(|(_, concern)| *concern)
            .min()
    }

    /// The directories whose entries are to be watched: of the policy, around it, and of every file.
    pub fn directories(&self) -> BTreeSet<PathBuf> {
        let parents = self.files.keys().filter_map(|file| file.parent());
        let around = self.directory.parent().into_iter();
        parents
            .chain(around)
            .chain([self.directory.as_path()])
            .map(Path::to_owned)
            .collect()
    }

    /// One number for each concern that changes when a file of it appears, goes, or is written or replaced.
    pub fn signature(&self) -> BTreeMap<Concern, u64> {
        let mut hashers: BTreeMap<Concern, DefaultHasher> = BTreeMap::new();
        let mut names: Vec<OsString> = entries(&self.directory);
        names.sort();
        let policy = hashers.entry(Concern::Policy).or_default();
        for name in names {
            hash_file(policy, &self.directory.join(name));
        }
        for (file, concern) in &self.files {
            hash_file(hashers.entry(*concern).or_default(), file);
        }
        hashers
            .into_iter()
            .map(|(concern, hasher)| (concern, hasher.finish()))
            .collect()
    }
}

fn entries(directory: &Path) -> Vec<OsString> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .collect()
}

fn hash_file(hasher: &mut impl Hasher, path: &Path) {
    path.hash(hasher);
    match fs::metadata(path) {
        Ok(found) => {
            (found.dev(), found.ino(), found.size(), found.mode()).hash(hasher);
            (found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()).hash(hasher);
        }
        Err(error) => error.raw_os_error().hash(hasher),
    }
}

/// Device and inode: the same name can lead to another directory.
type Identity = (u64, u64);

/// The watcher and what it watches now.
pub struct Watch {
    watcher: Option<RecommendedWatcher>,
    /// Each directory by name, and which one the name led to.
    watched: BTreeMap<PathBuf, Option<Identity>>,
    interest: Arc<Mutex<Interest>>,
}

impl Watch {
    /// `changed` is called on the watcher's thread and must not block. Without inotify (its limits are reached, say) the
    /// comparison of signatures is all there is; the error says so.
    pub fn new(changed: impl Fn(Result<Concern, notify::Error>) + Send + 'static) -> (Self, Option<notify::Error>) {
        let interest = Arc::new(Mutex::new(Interest::default()));
        let seen = interest.clone();
        let made = notify::recommended_watcher(move |event| on_event(&seen, event, &changed));
        let (watcher, error) = match made {
            Ok(watcher) => (Some(watcher), None),
            Err(error) => (None, Some(error)),
        };
        (
            Self {
                watcher,
                watched: BTreeMap::new(),
                interest,
            },
            error,
        )
    }

    /// Watches for `interest` from now on. A directory that is watched already stays so without a gap, unless its name
    /// leads elsewhere by now. Answers with the directories that cannot be watched.
    pub fn set(&mut self, interest: &Interest) -> Vec<(PathBuf, notify::Error)> {
        lock(&self.interest).clone_from(interest);
        let Some(watcher) = &mut self.watcher else {
            return Vec::new();
        };
        let wanted: BTreeMap<PathBuf, Option<Identity>> = interest
            .directories()
            .into_iter()
            .map(|path| (path.clone(), identity(&path)))
            .collect();
        for (gone, _) in self
            .watched
            .iter()
            .filter(|(path, identity)| wanted.get(*path) != Some(*identity))
        {
            if let Err(error) = watcher.unwatch(gone) {
                tracing::debug!(directory = %gone.display(), %error, "was no longer watched");
            }
        }
        let fresh = wanted
            .iter()
            .filter(|(path, identity)| self.watched.get(*path) != Some(*identity));
        let results = fresh.map(|(path, _)| (path.clone(), watcher.watch(path, RecursiveMode::NonRecursive)));
        let failed: Vec<_> = results
            .filter_map(|(path, result)| Some((path, result.err()?)))
            .collect();
        self.watched = wanted;
        for (path, _) in &failed {
            self.watched.remove(path);
        }
        failed
    }
}

fn identity(directory: &Path) -> Option<Identity> {
    fs::metadata(directory).ok().map(|found| (found.dev(), found.ino()))
}

fn on_event(
    interest: &Mutex<Interest>,
    event: notify::Result<Event>,
    changed: &impl Fn(Result<Concern, notify::Error>),
) {
    match event {
        Ok(event) if !is_change(&event.kind) => {}
        Ok(event) if event.need_rescan() => changed(Ok(Concern::Policy)),
        Ok(event) => {
            let interest = lock(interest);
            let concerns: BTreeSet<Concern> = event.paths.iter().filter_map(|path| interest.concern(path)).collect();
            drop(interest);
            concerns.into_iter().for_each(|concern| changed(Ok(concern)));
        }
        Err(error) => changed(Err(error)),
    }
}

/// Our own reading opens and closes files: reacting to that would never end.
fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

fn lock(interest: &Mutex<Interest>) -> MutexGuard<'_, Interest> {
    interest.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::super::scratch::Scratch;
    use super::*;

    fn interest(dir: &Scratch) -> Interest {
        let secret = dir.path().join("secrets/pw");
        Interest {
            directory: dir.path().join("policy"),
            files: BTreeMap::from([(secret, Concern::Secrets)]),
        }
    }

    fn laid_out() -> Scratch {
        let dir = Scratch::new();
        fs::create_dir(dir.path().join("policy")).unwrap();
        fs::create_dir(dir.path().join("secrets")).unwrap();
        dir.write("policy/a.toml", "a");
        dir.write("secrets/pw", "a");
        dir
    }

    fn watching(dir: &Scratch) -> (Watch, Receiver<Concern>) {
        let (sender, receiver) = channel();
        let (mut watch, error) = Watch::new(move |news| sender.send(news.unwrap()).unwrap_or_default());
        assert!(error.is_none());
        assert!(watch.set(&interest(dir)).is_empty());
        (watch, receiver)
    }

    fn next(receiver: &Receiver<Concern>) -> Option<Concern> {
        let first = receiver.recv_timeout(Duration::from_secs(5)).ok();
        while receiver.recv_timeout(Duration::from_millis(50)).is_ok() {}
        first
    }

    #[test]
    fn tells_of_renames_swaps_and_removals() {
        let dir = laid_out();
        let (_watch, news) = watching(&dir);
        dir.replace("policy/b.toml", "b");
        assert_eq!(next(&news), Some(Concern::Policy), "a file renamed into the directory");
        dir.replace("secrets/pw", "b");
        assert_eq!(next(&news), Some(Concern::Secrets), "a secret replaced");
        symlink("a.toml", dir.path().join("policy/..data.new")).unwrap();
        fs::rename(dir.path().join("policy/..data.new"), dir.path().join("policy/..data")).unwrap();
        assert_eq!(next(&news), Some(Concern::Policy), "a link swapped");
        fs::remove_file(dir.path().join("policy/b.toml")).unwrap();
        assert_eq!(next(&news), Some(Concern::Policy), "a file removed");
    }

    #[test]
    fn a_directory_put_in_the_place_of_another_is_watched_too() {
        let dir = laid_out();
        let (mut watch, news) = watching(&dir);
        fs::rename(dir.path().join("policy"), dir.path().join("old")).unwrap();
        fs::create_dir(dir.path().join("policy")).unwrap();
        assert_eq!(next(&news), Some(Concern::Policy), "the directory itself");
        assert!(watch.set(&interest(&dir)).is_empty());
        dir.write("policy/a.toml", "b");
        assert_eq!(next(&news), Some(Concern::Policy), "a file in the new one");
    }

    #[test]
    fn reading_and_strange_files_are_no_news() {
        let dir = laid_out();
        let (_watch, news) = watching(&dir);
        fs::read(dir.path().join("policy/a.toml")).unwrap();
        dir.write("secrets/other", "x");
        dir.write("beside", "x");
        assert!(news.recv_timeout(Duration::from_millis(200)).is_err());
    }

    #[test]
    fn a_swapped_kubernetes_link_stands_for_the_files_beside_it() {
        let dir = laid_out();
        let interest = interest(&dir);
        assert_eq!(
            interest.concern(&dir.path().join("secrets/..data")),
            Some(Concern::Secrets)
        );
        assert_eq!(interest.concern(&dir.path().join("elsewhere/..data")), None);
        assert_eq!(
            interest.concern(&dir.path().join("policy")),
            Some(Concern::Policy),
            "the directory itself replaced"
        );
    }

    #[test]
    fn the_signature_tells_what_changed_without_any_watcher() {
        let dir = laid_out();
        let interest = interest(&dir);
        let before = interest.signature();
        assert_eq!(interest.signature(), before);
        dir.replace("secrets/pw", "b");
        let secret = interest.signature();
        assert_eq!(secret.get(&Concern::Policy), before.get(&Concern::Policy));
        assert_ne!(secret.get(&Concern::Secrets), before.get(&Concern::Secrets));
        dir.replace("policy/a.toml", "b");
        assert_ne!(interest.signature().get(&Concern::Policy), before.get(&Concern::Policy));
    }
}
