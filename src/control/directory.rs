//! The policy directory: what lies in it, and whether it may be trusted at all.
//!
//! Counted are regular files (or links to them) named `*.toml` or `*.snapshot`. Ignored are names that begin with `.` or
//! `#` (hidden files, editors' swap and lock files, Kubernetes' own bookkeeping) and every other ending (`*~`, `*.tmp`,
//! and the `.pem` and `.crl` files that the text refers to). In a Kubernetes volume the files are read from the directory
//! that `..data` points to at that moment, so that a swap half-way through cannot mix two versions.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, statvfs};

use super::sealed::{SealError, Sealed};

/// Upper bound on one file of text, bytes.
pub const MAX_TEXT: u64 = 64 * 1024 * 1024;
/// Group or others may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// What a directory held, read completely.
#[derive(Debug)]
pub enum Contents {
    /// In the order of their names, which has no meaning for the policy but gives faults a stable order.
    Text(Vec<TextFile>),
    Snapshot {
        name: String,
        bytes: Sealed,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFile {
    pub name: String,
    pub text: String,
}

/// Why a directory, or a file in it, is not taken at all.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryFault {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: holds no .toml and no .snapshot file", path.display())]
    Empty { path: PathBuf },
    #[error("{}: group or others may write to it (mode {mode:04o}); chmod go-w it", path.display())]
    Writable { path: PathBuf, mode: u32 },
    #[error("{}: not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{snapshot} stands for the whole policy and may not lie beside {text}")]
    SnapshotBesideText { snapshot: String, text: String },
    #[error("two snapshots, {first} and {second}: which of them is the policy?")]
    TwoSnapshots { first: String, second: String },
    #[error("{}: larger than {MAX_TEXT} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("{}: not UTF-8", path.display())]
    NotText { path: PathBuf },
    #[error("{}: {error}", path.display())]
    Seal { path: PathBuf, error: SealError },
}

/// Reads the whole directory, or says why it is not to be trusted.
pub fn read(directory: &Path) -> Result<Contents, DirectoryFault> {
    refuse_writable(directory, &metadata(directory)?)?;
    let current = current_version(directory)?;
    let (texts, snapshots) = list(&current)?;
    match (texts.as_slice(), snapshots.as_slice()) {
        ([], []) => Err(DirectoryFault::Empty {
            path: directory.to_owned(),
        }),
        ([], [snapshot]) => read_snapshot(&current.join(snapshot), snapshot),
        ([text, ..], [snapshot, ..]) => Err(DirectoryFault::SnapshotBesideText {
            snapshot: snapshot.clone(),
            text: text.clone(),
        }),
        ([], [first, second, ..]) => Err(DirectoryFault::TwoSnapshots {
            first: first.clone(),
            second: second.clone(),
        }),
        (texts, []) => texts
            .iter()
            .map(|name| read_text(&current.join(name), name))
            .collect::<Result<_, _>>()
            .map(Contents::Text),
    }
}

/// Bytes of the files that [`read`] would read; zero where that cannot be said, since `read` says why.
pub fn size(directory: &Path) -> u64 {
    let Ok(current) = current_version(directory) else {
        return 0;
    };
    let (texts, snapshots) = list(&current).unwrap_or_default();
    let files = texts.iter().chain(&snapshots);
    files
        .filter_map(|name| fs::metadata(current.join(name)).ok())
        .map(|found| found.len())
        .sum()
}

/// Reads a file that the policy refers to (roots, CRLs), under the same conditions as the policy itself.
pub fn read_referenced(path: &Path) -> Result<Vec<u8>, DirectoryFault> {
    read_bounded(path)
}

/// Where the files are: in a Kubernetes volume, the version that `..data` names now.
fn current_version(directory: &Path) -> Result<PathBuf, DirectoryFault> {
    let data = directory.join("..data");
    match fs::symlink_metadata(&data) {
        Ok(found) if found.file_type().is_symlink() => {
            let target = fs::canonicalize(&data).map_err(|error| DirectoryFault::Io { path: data, error })?;
            refuse_writable(&target, &metadata(&target)?)?;
            Ok(target)
        }
        Ok(_) => Ok(directory.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(directory.to_owned()),
        Err(error) => Err(DirectoryFault::Io { path: data, error }),
    }
}

fn list(directory: &Path) -> Result<(Vec<String>, Vec<String>), DirectoryFault> {
    let io_fault = |error| DirectoryFault::Io {
        path: directory.to_owned(),
        error,
    };
    let (mut texts, mut snapshots) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(directory).map_err(io_fault)? {
        let name = entry.map_err(io_fault)?.file_name().to_string_lossy().into_owned();
        if name.starts_with(['.', '#']) {
            continue;
        }
        if name.ends_with(".toml") {
            texts.push(name);
        } else if name.ends_with(".snapshot") {
            snapshots.push(name);
        }
    }
    texts.sort();
    snapshots.sort();
    Ok((texts, snapshots))
}

fn read_snapshot(path: &Path, name: &str) -> Result<Contents, DirectoryFault> {
    let file = open(path)?;
    let bytes = Sealed::copy_of(file).map_err(|error| DirectoryFault::Seal {
        path: path.to_owned(),
        error,
    })?;
    Ok(Contents::Snapshot {
        name: name.to_owned(),
        bytes,
    })
}

fn read_text(path: &Path, name: &str) -> Result<TextFile, DirectoryFault> {
    let bytes = read_bounded(path)?;
    let text = String::from_utf8(bytes).map_err(|_| DirectoryFault::NotText { path: path.to_owned() })?;
    Ok(TextFile {
        name: name.to_owned(),
        text,
    })
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, DirectoryFault> {
    let mut bytes = Vec::new();
    let read = open(path)?.take(MAX_TEXT + 1).read_to_end(&mut bytes);
    let length = read.map_err(|error| DirectoryFault::Io {
        path: path.to_owned(),
        error,
    })?;
    if length as u64 > MAX_TEXT {
        return Err(DirectoryFault::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Looks before it opens (a FIFO would block) and judges what it has opened, not the name.
fn open(path: &Path) -> Result<File, DirectoryFault> {
    if !metadata(path)?.is_file() {
        return Err(DirectoryFault::NotAFile { path: path.to_owned() });
    }
    let io_fault = |error| DirectoryFault::Io {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(io_fault)?;
    refuse_writable(path, &file.metadata().map_err(io_fault)?)?;
    Ok(file)
}

fn metadata(path: &Path) -> Result<Metadata, DirectoryFault> {
    fs::metadata(path).map_err(|error| DirectoryFault::Io {
        path: path.to_owned(),
        error,
    })
}

/// Mode bits mean nothing on a read-only mount, and Kubernetes mounts its volumes that way, with mode 0777.
fn refuse_writable(path: &Path, found: &Metadata) -> Result<(), DirectoryFault> {
    if found.mode() & WRITABLE_BY_OTHERS == 0 || on_read_only_mount(path) {
        return Ok(());
    }
    Err(DirectoryFault::Writable {
        path: path.to_owned(),
        mode: found.mode() & 0o7777,
    })
}

fn on_read_only_mount(path: &Path) -> bool {
    statvfs(path).is_ok_and(|found| found.flags().contains(FsFlags::ST_RDONLY))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::scratch::Scratch;
    use super::*;

    fn names(contents: Contents) -> Vec<String> {
        match contents {
            Contents::Text(files) => files.into_iter().map(|file| file.name).collect(),
            Contents::Snapshot { name, .. } => vec![name],
        }
    }

    #[test]
    fn takes_toml_and_leaves_the_rest() {
        let dir = Scratch::new();
        for name in [
            "b.toml",
            "a.toml",
            ".a.toml.swp",
            ".hidden.toml",
            "#a.toml#",
            "a.toml~",
            "a.tmp",
            "ca.pem",
            "4913",
        ] {
            dir.write(name, "x = 1");
        }
        assert_eq!(names(read(dir.path()).unwrap()), ["a.toml", "b.toml"]);
    }

    #[test]
    fn an_empty_directory_is_a_fault() {
        let dir = Scratch::new();
        dir.write("ca.pem", "");
        assert!(matches!(read(dir.path()), Err(DirectoryFault::Empty { .. })));
    }

    #[test]
    fn a_snapshot_beside_text_or_another_snapshot_is_a_fault() {
        let dir = Scratch::new();
        dir.write("p.snapshot", "bytes");
        assert_eq!(names(read(dir.path()).unwrap()), ["p.snapshot"]);
        dir.write("q.snapshot", "bytes");
        assert!(matches!(read(dir.path()), Err(DirectoryFault::TwoSnapshots { .. })));
        dir.write("a.toml", "");
        assert!(matches!(
            read(dir.path()),
            Err(DirectoryFault::SnapshotBesideText { .. })
        ));
    }

    #[test]
    fn writable_by_others_is_a_fault_for_directory_and_file() {
        for mode in [0o775, 0o757] {
            let dir = Scratch::new();
            dir.write("a.toml", "");
            fs::set_permissions(dir.path(), PermissionsExt::from_mode(mode)).unwrap();
            assert!(
                matches!(read(dir.path()), Err(DirectoryFault::Writable { .. })),
                "{mode:o}"
            );
        }
        for mode in [0o664, 0o646] {
            let dir = Scratch::new();
            dir.write("a.toml", "");
            fs::set_permissions(dir.path().join("a.toml"), PermissionsExt::from_mode(mode)).unwrap();
            assert!(
                matches!(read(dir.path()), Err(DirectoryFault::Writable { .. })),
                "{mode:o}"
            );
        }
    }

    #[test]
    fn reads_the_version_that_a_kubernetes_volume_points_to() {
        let dir = Scratch::new();
        for (version, text) in [("..1", "old"), ("..2", "new")] {
            fs::create_dir(dir.path().join(version)).unwrap();
            dir.write(&format!("{version}/a.toml"), text);
        }
        symlink("..2", dir.path().join("..data")).unwrap();
        // What a mixed read would see: a visible name that still leads to the old version.
        symlink("..1/a.toml", dir.path().join("a.toml")).unwrap();
        let Contents::Text(files) = read(dir.path()).unwrap() else {
            panic!("text expected")
        };
        assert_eq!(
            files,
            [TextFile {
                name: "a.toml".into(),
                text: "new".into()
            }]
        );
    }

    #[test]
    fn a_fifo_is_named_and_not_waited_for() {
        let dir = Scratch::new();
        nix::unistd::mkfifo(&dir.path().join("a.toml"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(matches!(read(dir.path()), Err(DirectoryFault::NotAFile { .. })));
    }

    #[test]
    fn text_must_be_utf8() {
        let dir = Scratch::new();
        fs::write(dir.path().join("a.toml"), [0xff, 0xfe]).unwrap();
        assert!(matches!(read(dir.path()), Err(DirectoryFault::NotText { .. })));
    }
}
