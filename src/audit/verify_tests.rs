use super::super::file::tests::Directory;
use super::*;

const PERMIT: &str = r#"{"event":"attempt","session":"s1","outcome":"permitted","reason":"ok"}"#;
const DENIAL: &str = r#"{"event":"attempt","session":"s2","outcome":"denied","reason":"no_grant"}"#;
const END: &str = r#"{"event":"end","session":"s1","how":"client_terminate","from_client":{"messages":{"Q":1}}}"#;

fn report(text: &str) -> Report {
    let mut verification = Verification::default();
    verification.read("f", text.as_bytes()).expect("readable");
    verification.finish()
}

fn lines(lines: &[&str]) -> Report {
    report(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
}

#[test]
fn a_whole_record_is_sound() {
    let report = lines(&[PERMIT, DENIAL, END]);
    assert!(report.is_sound() && report.unknown.is_empty(), "{report}");
    assert_eq!((report.lines, report.open, report.events["attempt"]), (3, 0, 2));
}

#[test]
fn open_and_old_sessions_are_told_and_are_no_fault() {
    let report = lines(&[PERMIT, &END.replace("s1", "s9")]);
    assert!(report.is_sound());
    assert_eq!((report.open, report.ends_without_attempt), (1, 1));
}

#[test]
fn each_session_has_one_attempt_and_at_most_one_end() {
    let ended_twice = lines(&[PERMIT, END, END]);
    assert_eq!(ended_twice.faults, ["session s1 has 2 ends"]);
    let counted_twice = lines(&[DENIAL, DENIAL]);
    assert_eq!(counted_twice.faults, ["session s2 has 2 attempts"]);
    let never_let_in = lines(&[DENIAL, &END.replace("s1", "s2")]);
    assert_eq!(never_let_in.faults, ["session s2 has an end and was not permitted"]);
    let backwards = lines(&[END, PERMIT]);
    assert_eq!(backwards.faults, ["f:2: session s1 ended before its attempt"]);
    assert!(
        [ended_twice, counted_twice, never_let_in, backwards]
            .iter()
            .all(|report| !report.is_sound())
    );
}

#[test]
fn a_tear_is_a_fault_unless_it_is_told_with_its_length() {
    let told = r#"{"event":"audit.torn_tail","bytes":5}"#;
    let report_told = lines(&[PERMIT, "{\"eve", told, END]);
    assert!(report_told.is_sound(), "{report_told}");
    assert_eq!(report_told.told_tears, 1);
    for torn in ["{\"even", "[1,2]"] {
        assert_eq!(
            lines(&[PERMIT, torn, END]).faults,
            ["f:2 is no whole line, and nothing tells of it"]
        );
    }
    assert_eq!(lines(&["{\"even", told]).fault_count, 1, "another length");
    assert_eq!(lines(&["{\"eve", "{\"eve", told]).fault_count, 1, "two tears, one told");
    assert_eq!(lines(&[PERMIT, "{\"eve"]).fault_count, 1, "at the end of the file");
}

#[test]
fn a_torn_tail_is_measured_and_is_no_fault() {
    let report = report(&format!("{PERMIT}\n{{\"event"));
    assert!(report.is_sound());
    assert_eq!((report.lines, report.torn_tail), (1, 7));
    assert!(report.to_string().contains("7 bytes of a torn last line"));
}

#[test]
fn what_a_later_version_wrote_is_told() {
    let report = lines(&[
        r#"{"event":"attempt","session":"s","outcome":"denied","reason":"moon_phase","peer":{"mood":1}}"#,
        r#"{"event":"weather"}"#,
    ]);
    let unknown: Vec<&str> = report.unknown.keys().map(String::as_str).collect();
    assert_eq!(
        unknown,
        [
            r#"attempt: "peer.mood""#,
            r#"attempt: reason "moon_phase""#,
            r#"event "weather""#
        ]
    );
    assert!(report.is_sound());
}

#[test]
fn what_the_writer_lost_is_added_up() {
    let report = lines(&[
        r#"{"event":"audit.dropped","permits":1,"ends":2,"others":3}"#,
        r#"{"event":"attempts.aggregated","attempts":40}"#,
        r#"{"event":"attempts.aggregated","attempts":2}"#,
    ]);
    assert_eq!((report.dropped, report.aggregated), (6, 42));
}

#[test]
fn faults_are_counted_in_full_and_named_in_part() {
    let all: String = (0..100)
        .map(|count| format!("{}\n", DENIAL.replace("s2", &format!("s{count}"))))
        .collect();
    let report = report(&all.repeat(2));
    assert_eq!((report.faults.len(), report.fault_count), (NAMED, 100));
}

#[test]
fn files_are_read_as_one_record() {
    let directory = Directory::new();
    let (old, new) = (directory.0.join("audit.jsonl.1"), directory.file());
    std::fs::write(&old, format!("{PERMIT}\n")).expect("written");
    std::fs::write(&new, format!("{END}\n")).expect("written");
    let report = verify_files([&old, &new]).expect("readable");
    assert!(report.is_sound());
    assert_eq!((report.files, report.lines, report.open), (2, 2, 0));
    assert!(verify_files([directory.0.join("none")]).is_err());
}
