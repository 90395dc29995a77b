//! The writer on real files, with real faults: a full device, a file-size limit, kill -9.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::file::tests::Directory;
use super::super::*;
use super::*;
use crate::time::Utc;

/// Names the directory for a test that has started itself again.
const CHILD: &str = "POSTERN_AUDIT_TEST_DIRECTORY";

fn settings(file: &Path) -> config::Audit {
    config::Audit {
        file: file.to_path_buf(),
        on_failure: config::OnFailure::Deny,
        durability: config::Durability::Written,
        rotate_size: 1 << 30,
        keep: 100,
        queue: 4_096,
        pre_proof_bytes_per_second: 1 << 20,
    }
}

type Told = mpsc::Receiver<(Ticket, Result<(), WriteFailed>)>;

fn start(settings: &config::Audit) -> (Writer, Told) {
    let (sender, told) = mpsc::channel();
    let tell = Box::new(move |ticket, result| sender.send((ticket, result)).unwrap_or_default());
    (Writer::start(settings, tell).expect("starts"), told)
}

fn attempt(id: SessionId, outcome: Outcome, reason: Reason) -> Box<Attempt> {
    let peer = Peer::Ip("192.0.2.1:1000".parse().expect("an address"));
    Box::new(Attempt::new(Utc(0), id, peer, outcome, reason))
}

fn permit(id: SessionId) -> Box<Attempt> {
    let proofs = Proofs {
        certificate: true,
        ..Proofs::default()
    };
    Box::new(Attempt {
        proofs,
        ..*attempt(id, Outcome::Permitted, Reason::Ok)
    })
}

fn end(id: SessionId) -> Record {
    Record::End(Box::new(End::new(Utc(0), id, EndReason::ClientTerminate)))
}

fn ticket(session: u64) -> Ticket {
    Ticket { core: 0, session }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("readable");
    assert!(text.is_empty() || text.ends_with('\n'), "a torn tail");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a whole line"))
        .collect()
}

fn sessions(lines: &[Value], event: &str) -> Vec<String> {
    let of_event = lines.iter().filter(|line| line["event"] == event);
    of_event
        .map(|line| line["session"].as_str().expect("a session").to_owned())
        .collect()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn every_record_is_written_in_order_and_told_only_when_it_is_in_the_file() {
    let directory = Directory::new();
    let file = directory.file();
    let (sender, told) = mpsc::channel();
    let tell: Tell = {
        let file = file.clone();
        Box::new(move |ticket, result| {
            // What the core hears must be true at this moment.
            let found = std::fs::read_to_string(&file)
                .expect("readable")
                .contains(&format!("-{:x}\"", ticket.session));
            sender
                .send((ticket.session, result.is_ok() && found))
                .unwrap_or_default();
        })
    };
    let writer = Writer::start(&settings(&file), tell).expect("starts");
    let recorder = writer.recorder();
    let mut ids = SessionIds::new(1, 0);
    let ids: Vec<SessionId> = (0..500).map(|_| ids.draw()).collect();
    for (count, id) in ids.iter().enumerate() {
        let telling = recorder
            .record_and_tell(permit(*id), ticket(count as u64 + 1))
            .expect("accepted");
        assert_eq!(telling, Telling::Later);
        recorder.record(end(*id));
    }
    writer.finish().expect("all written");
    let expected: Vec<(u64, bool)> = (1..=500).map(|session| (session, true)).collect();
    assert_eq!(told.iter().collect::<Vec<_>>(), expected);
    let names: Vec<String> = ids.iter().map(SessionId::to_string).collect();
    let events: Vec<_> = lines(&file)
        .iter()
        .map(|line| line["event"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(events, ["attempt", "end"].repeat(500));
    assert_eq!(sessions(&lines(&file), "attempt"), names);
    assert_eq!(recorder.figures().records, 1_000);
    let figures = recorder.figures();
    assert!(figures.batches < 500 && figures.wakes < 500, "{figures:?}");
}

#[test]
fn a_full_disk_denies_permits_and_says_so() {
    let (writer, told) = start(&settings(Path::new("/dev/full")));
    let recorder = writer.recorder();
    let id = SessionIds::new(1, 0).draw();
    assert_eq!(recorder.record_and_tell(permit(id), ticket(1)), Ok(Telling::Later));
    assert_eq!(
        told.recv_timeout(Duration::from_secs(20)),
        Ok((ticket(1), Err(WriteFailed)))
    );
    assert!(!recorder.healthy());
    assert_eq!(
        recorder.record_and_tell(permit(id), ticket(2)),
        Err(AuditUnavailable::WriterFailing)
    );
    assert_eq!(recorder.figures().refused, 2);
    recorder.record(end(id));
    assert_eq!(
        writer.finish(),
        Err(Lost(1)),
        "the end is kept to the last; the permit is not"
    );
}

#[test]
fn a_full_disk_lets_permits_go_on_where_the_operator_said_so() {
    let settings = config::Audit {
        on_failure: config::OnFailure::Drop,
        queue: 64,
        ..settings(Path::new("/dev/full"))
    };
    let (writer, told) = start(&settings);
    let recorder = writer.recorder();
    let mut ids = SessionIds::new(1, 0);
    for session in 0..10_000 {
        assert_eq!(
            recorder.record_and_tell(permit(ids.draw()), ticket(session)),
            Ok(Telling::Now)
        );
    }
    wait_until("the failure is seen", || !recorder.healthy());
    let dropped = recorder.figures().dropped;
    let Err(Lost(kept)) = writer.finish() else {
        panic!("written to a full device")
    };
    assert!(dropped > 0 && kept > 0, "{dropped} dropped, {kept} kept");
    assert_eq!(told.iter().count(), 0);
}

/// A soft limit on the size of files makes writes stop in the middle of a line, as a full disk does; lifting it is making room.
#[test]
fn writing_resumes_without_a_torn_or_a_lost_line() {
    if let Some(directory) = std::env::var_os(CHILD) {
        return write_beyond_the_limit(Path::new(&directory));
    }
    let directory = Directory::new();
    let limited = "trap '' XFSZ; ulimit -S -f 16; exec \"$0\" \"$@\"";
    let mut child = Command::new("bash");
    child
        .args(["-c", limited])
        .arg(std::env::current_exe().expect("this test"));
    child.args([
        "--exact",
        "audit::writer::tests::writing_resumes_without_a_torn_or_a_lost_line",
    ]);
    let output = child.env(CHILD, &directory.0).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn write_beyond_the_limit(directory: &Path) {
    let file = directory.join("audit.jsonl");
    // Places for all: this loop is faster than the writer.
    let (writer, told) = start(&config::Audit {
        queue: 1 << 18,
        ..settings(&file)
    });
    let recorder = writer.recorder();
    let mut ids = SessionIds::new(1, 0);
    let (mut accepted, mut refused, mut ended) = (Vec::new(), 0, Vec::new());
    while recorder.healthy() {
        let id = ids.draw();
        match recorder.record_and_tell(permit(id), ticket(accepted.len() as u64)) {
            Ok(Telling::Later) => accepted.push(id.to_string()),
            Ok(Telling::Now) => panic!("not with on_failure = deny"),
            Err(_) => refused += 1,
        }
        let id = ids.draw();
        ended.push(id.to_string());
        recorder.record(end(id));
    }
    // Whatever was written before the failure is whole lines; there is nothing behind them.
    wait_until("all are told", || recorder.figures().queued == 0);
    lines(&file);
    let lifted = Command::new("prlimit")
        .args(["--fsize=unlimited", "--pid", &std::process::id().to_string()])
        .status();
    assert!(lifted.expect("runs").success());
    wait_until("writing works again", || recorder.healthy());
    let later = ids.draw();
    assert_eq!(
        recorder.record_and_tell(permit(later), ticket(u64::MAX)),
        Ok(Telling::Later)
    );
    writer.finish().expect("all written");

    let lines = lines(&file);
    let told: Vec<_> = told.iter().collect();
    assert_eq!(told.len(), accepted.len() + 1, "each ticket is told once");
    let mut expected: Vec<String> = accepted
        .iter()
        .zip(&told)
        .filter(|(_, told)| told.1.is_ok())
        .map(|(id, _)| id.clone())
        .collect();
    let not_written = accepted.len() - expected.len();
    assert!(
        not_written > 0 && !expected.is_empty(),
        "{not_written} of {}",
        accepted.len()
    );
    expected.push(later.to_string());
    assert!(
        sessions(&lines, "attempt") == expected,
        "permits: those that were told so, and no other"
    );
    assert_eq!(recorder.figures().dropped, 0);
    assert!(sessions(&lines, "end") == ended, "ends: all of them, once");
    let report = verify_files([&file]).expect("readable");
    assert!(
        report.fault_count == 0 && report.torn_tail == 0 && report.told_tears == 0,
        "{report}"
    );
    let resumed: Vec<_> = lines.iter().filter(|line| line["event"] == "audit.resumed").collect();
    assert_eq!(resumed.len(), 1);
    // Some may have been refused before, when the queue was full.
    assert_eq!(recorder.figures().refused, not_written as u64 + refused);
    let told_refused = resumed[0]["refused"].as_u64().unwrap_or_default();
    assert!(
        (not_written as u64..=not_written as u64 + refused).contains(&told_refused),
        "{told_refused}"
    );
}

#[test]
fn after_kill_9_every_permit_that_was_told_is_in_the_file() {
    if let Some(directory) = std::env::var_os(CHILD) {
        return permit_until_killed(Path::new(&directory));
    }
    let directory = Directory::new();
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            "--nocapture",
            "audit::writer::tests::after_kill_9_every_permit_that_was_told_is_in_the_file",
        ])
        .env(CHILD, &directory.0)
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut told = BTreeSet::new();
    let mut line = String::new();
    while told.len() < 5_000 && output.read_line(&mut line).expect("readable") > 0 {
        told.extend(line.trim_end().strip_prefix("told ").map(str::to_owned));
        line.clear();
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    let rest: Vec<String> = output.lines().map_while(Result::ok).collect();
    // The last line may be torn by the kill.
    let whole = rest.iter().take(rest.len().saturating_sub(1));
    told.extend(whole.filter_map(|line| line.strip_prefix("told ")).map(str::to_owned));
    assert!(told.len() >= 5_000);

    // The kill may have torn one line. The next start ends it and tells of it; everything else is whole.
    start(&settings(&directory.file())).0.finish().expect("written");
    let text = std::fs::read_to_string(directory.file()).expect("text");
    let whole: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let torn = text.lines().count() - whole.len();
    let report = verify_files([directory.file()]).expect("readable");
    assert!(report.is_sound() && report.torn_tail == 0, "{report}");
    assert_eq!(report.told_tears, torn as u64);
    assert!(torn <= 1, "{torn} torn lines");
    let written: BTreeSet<String> = sessions(&whole, "attempt").into_iter().collect();
    let missing: Vec<_> = told.difference(&written).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn permit_until_killed(directory: &Path) {
    let tell: Tell = Box::new(|ticket, result| {
        if result.is_ok() {
            writeln!(
                std::io::stdout(),
                "told 0000000000000001-{:x}-{:x}",
                ticket.core,
                ticket.session
            )
            .expect("a pipe");
        }
    });
    let writer = Writer::start(&settings(&directory.join("audit.jsonl")), tell).expect("starts");
    std::thread::scope(|scope| {
        for core in 0..2 {
            let recorder = writer.recorder();
            scope.spawn(move || {
                let mut ids = SessionIds::new(1, core);
                for session in 1.. {
                    let mut waiting = permit(ids.draw());
                    while recorder
                        .record_and_tell(waiting.clone(), Ticket { core, session })
                        .is_err()
                    {
                        waiting.at.0 += 1;
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
}

#[test]
fn a_torn_tail_is_told_at_the_next_start() {
    let directory = Directory::new();
    std::fs::write(directory.file(), "{\"event\":\"end\"}\n{\"event\":\"att").expect("written");
    start(&settings(&directory.file())).0.finish().expect("written");
    let text = std::fs::read_to_string(directory.file()).expect("text");
    let last = text.lines().last().expect("a line");
    assert!(last.ends_with(r#""event":"audit.torn_tail","bytes":13}"#), "{text}");
    let report = verify_files([directory.file()]).expect("readable");
    assert_eq!((report.told_tears, report.torn_tail), (1, 0));
    assert_eq!(text.lines().nth(1), Some(r#"{"event":"att"#));
}

#[test]
fn files_are_rotated_by_size_and_no_line_is_lost() {
    let directory = Directory::new();
    let (writer, _told) = start(&config::Audit {
        rotate_size: 4_096,
        keep: 1_000,
        ..settings(&directory.file())
    });
    let recorder = writer.recorder();
    let mut ids = SessionIds::new(1, 0);
    let mut expected = BTreeSet::new();
    for _ in 0..10 {
        let group: Vec<SessionId> = (0..30).map(|_| ids.draw()).collect();
        group.iter().for_each(|id| recorder.record(end(*id)));
        expected.extend(group.iter().map(SessionId::to_string));
        // A group is larger than a file may be, so the next one begins another.
        let last = group.last().expect("a session").to_string();
        wait_until("the group is written", || {
            std::fs::read_to_string(directory.file()).is_ok_and(|text| text.contains(&last))
        });
    }
    writer.finish().expect("written");
    let files: Vec<_> = std::fs::read_dir(&directory.0)
        .expect("readable")
        .map(|entry| entry.expect("one").path())
        .collect();
    assert!(files.len() >= 10, "{files:?}");
    let all: Vec<Value> = files.iter().flat_map(|file| lines(file)).collect();
    assert_eq!(sessions(&all, "end").into_iter().collect::<BTreeSet<_>>(), expected);
    let rotated = all.iter().filter(|line| line["event"] == "audit.rotated").count();
    assert_eq!(rotated, files.len() - 1);
}

#[test]
fn a_renamed_file_is_left_when_the_operator_says_so_and_not_before() {
    let directory = Directory::new();
    let (writer, _told) = start(&settings(&directory.file()));
    let recorder = writer.recorder();
    let mut ids = SessionIds::new(1, 0);
    let (first, second, third) = (ids.draw(), ids.draw(), ids.draw());
    recorder.record(end(first));
    wait_until("the first is written", || recorder.figures().records == 1);
    let moved = directory.0.join("moved");
    std::fs::rename(directory.file(), &moved).expect("renamed");
    recorder.record(end(second));
    wait_until("the second is written", || recorder.figures().records == 2);
    assert!(!directory.file().exists());
    recorder.reopen();
    wait_until("there is a new file", || directory.file().exists());
    recorder.record(end(third));
    recorder.reopen();
    writer.finish().expect("written");
    assert_eq!(sessions(&lines(&moved), "end"), [first.to_string(), second.to_string()]);
    assert_eq!(sessions(&lines(&directory.file()), "end"), [third.to_string()]);
}

#[test]
fn a_file_that_nobody_renamed_is_kept() {
    let directory = Directory::new();
    let (writer, _told) = start(&settings(&directory.file()));
    let recorder = writer.recorder();
    recorder.reopen();
    recorder.record(end(SessionIds::new(1, 0).draw()));
    writer.finish().expect("written");
    assert_eq!(lines(&directory.file()).len(), 1);
    // Opening the same file once more would have met the writer's own lock.
    assert_eq!(recorder.figures().failures, 0);
}

#[test]
fn strangers_cannot_fill_the_disk_and_each_of_them_is_counted() {
    const ATTEMPTS: u64 = 50_000;
    let directory = Directory::new();
    let (writer, told) = start(&config::Audit {
        pre_proof_bytes_per_second: 10_000,
        ..settings(&directory.file())
    });
    let recorder = writer.recorder();
    let started = Instant::now();
    let mut ids = SessionIds::new(1, 0);
    for _ in 0..ATTEMPTS {
        recorder.record(Record::Attempt(attempt(
            ids.draw(),
            Outcome::Denied,
            Reason::ScramFailed,
        )));
    }
    // In the middle of the flood somebody with a proof is recorded, and told, as ever.
    assert_eq!(
        recorder.record_and_tell(permit(ids.draw()), ticket(1)),
        Ok(Telling::Later)
    );
    assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok((ticket(1), Ok(()))));
    writer.finish().expect("written");
    let allowed = 10_000 * (started.elapsed().as_secs() + 2) + 4_096;
    let written = std::fs::metadata(directory.file()).expect("there").len();
    assert!(written < allowed, "{written} bytes, {allowed} allowed");
    let lines = lines(&directory.file());
    let single = lines.iter().filter(|line| line["reason"] == "scram_failed").count() as u64;
    let aggregated: u64 = lines.iter().filter_map(|line| line["attempts"].as_u64()).sum();
    assert!(single > 0);
    assert_eq!(single + aggregated, ATTEMPTS);
}

/// A network that is refused unasked can make attempts as fast as it can connect.
#[test]
fn attempts_that_are_refused_unasked_write_a_bounded_record() {
    const ATTEMPTS: u64 = 100_000;
    let directory = Directory::new();
    let (writer, _told) = start(&config::Audit {
        pre_proof_bytes_per_second: 10_000,
        ..settings(&directory.file())
    });
    let recorder = writer.recorder();
    let started = Instant::now();
    let mut ids = SessionIds::new(1, 0);
    for _ in 0..ATTEMPTS {
        let refused = attempt(ids.draw(), Outcome::Denied, Reason::TooManyFailures);
        recorder.record(Record::Attempt(refused));
    }
    writer.finish().expect("written");
    let lines = lines(&directory.file());
    // No line of an attempt has less than a hundred bytes.
    let allowed = 100 * (started.elapsed().as_secs() + 2) + 10;
    assert!(
        (lines.len() as u64) < allowed,
        "{} lines, {allowed} allowed",
        lines.len()
    );
    let single = lines.iter().filter(|line| line["event"] == "attempt").count() as u64;
    let aggregated: u64 = lines.iter().filter_map(|line| line["attempts"].as_u64()).sum();
    assert_eq!(single + aggregated, ATTEMPTS);
}

#[test]
fn denied_attempts_never_take_the_place_of_permits_and_ends() {
    // No thread behind it: the queues fill up and stay full.
    let recorder = Recorder {
        shared: Arc::new(Shared::new(16, false)),
    };
    let mut ids = SessionIds::new(1, 0);
    for _ in 0..100 {
        let mut denied = attempt(ids.draw(), Outcome::Denied, Reason::NoGrant);
        denied.proofs.certificate = true;
        recorder.record(Record::Attempt(denied));
    }
    assert_eq!((recorder.figures().queued, recorder.figures().aggregated), (8, 92));
    let permits = (0..16)
        .filter(|session| recorder.record_and_tell(permit(ids.draw()), ticket(*session)).is_ok())
        .count();
    assert_eq!(permits, 4, "up to three quarters");
    assert_eq!(
        recorder.record_and_tell(permit(ids.draw()), ticket(99)),
        Err(AuditUnavailable::QueueFull)
    );
    (0..6).for_each(|_| recorder.record(end(ids.draw())));
    assert_eq!((recorder.figures().queued, recorder.figures().dropped), (16, 2));
}
