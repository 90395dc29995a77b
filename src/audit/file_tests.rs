use std::process::id;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A directory of its own, gone when dropped.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("postern-audit-{}-{}", id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    pub fn file(&self) -> PathBuf {
        self.0.join("audit.jsonl")
    }

    fn names(&self) -> Vec<(String, String)> {
        let mut names: Vec<_> = fs::read_dir(&self.0)
            .expect("readable")
            .map(|entry| entry.expect("an entry").path())
            .map(|path| (file_name(&path), fs::read_to_string(&path).expect("text")))
            .collect();
        names.sort();
        names
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

#[test]
fn a_torn_tail_is_measured() {
    let directory = Directory::new();
    let long = "x".repeat(200_000);
    for (content, torn) in [
        ("", 0),
        ("a\n", 0),
        ("a\nbc", 2),
        ("abc", 3),
        (long.as_str(), 200_000),
        ("\n", 0),
    ] {
        fs::write(directory.file(), content).expect("written");
        let (_, found) = RecordFile::open(&directory.file(), true).expect("opens");
        assert_eq!(found.torn, torn);
        assert_eq!(found.length, content.len() as u64);
    }
}

#[test]
fn a_second_writer_is_turned_away_until_the_first_is_gone() {
    let directory = Directory::new();
    let first = RecordFile::open(&directory.file(), false).expect("opens");
    let second = RecordFile::open(&directory.file(), false);
    assert!(matches!(second, Err(OpenError::Locked { .. })));
    drop(first);
    RecordFile::open(&directory.file(), false).expect("opens now");
}

#[test]
fn renaming_shifts_up_to_the_first_gap_and_deletes_the_oldest() {
    let directory = Directory::new();
    let rotate = |content: &str| {
        let (mut file, _) = RecordFile::open(&directory.file(), false).expect("opens");
        file.write(content.as_bytes()).expect("written");
        file.rename_away(3)
            .expect("renames")
            .deleted
            .map(|path| file_name(&path))
    };
    assert_eq!(rotate("a\n"), None);
    assert_eq!(rotate("b\n"), None);
    assert_eq!(rotate("c\n"), None);
    assert_eq!(rotate("d\n"), Some("audit.jsonl.3".to_owned()));
    let numbered = |number: u32, content: &str| (format!("audit.jsonl.{number}"), content.to_owned());
    assert_eq!(
        directory.names(),
        [numbered(1, "d\n"), numbered(2, "c\n"), numbered(3, "b\n")]
    );

    fs::remove_file(directory.0.join("audit.jsonl.2")).expect("removed");
    assert_eq!(rotate("e\n"), None);
    assert_eq!(
        directory.names(),
        [numbered(1, "e\n"), numbered(2, "d\n"), numbered(3, "b\n")]
    );
}

#[test]
fn what_is_no_regular_file_is_written_but_never_promised_to_be_synced() {
    let (mut file, found) = RecordFile::open(Path::new("/dev/null"), false).expect("opens");
    assert_eq!(found, Found { length: 0, torn: 0 });
    assert_eq!(file.write(b"a\n").expect("written"), 2);
    assert!(file.truncate(0).is_err() && !file.is_regular());
    assert!(matches!(
        RecordFile::open(Path::new("/dev/null"), true),
        Err(OpenError::CannotSync { .. })
    ));
}
