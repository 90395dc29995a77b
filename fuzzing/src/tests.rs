use super::mutate::mutated;
use super::*;

fn inputs(seed: u64) -> Vec<Vec<u8>> {
    let pool = [b"select 1".to_vec(), vec![0; 40], vec![]];
    let mut random = Random::new(seed);
    (0..200).map(|_| mutated(&pool, &mut random)).collect()
}

#[test]
fn a_seed_decides_every_mutation() {
    assert_eq!(inputs(7), inputs(7));
    assert_ne!(inputs(7), inputs(8));
}

#[test]
fn nothing_to_start_from_is_no_fault() {
    let mut random = Random::new(1);
    for _ in 0..200 {
        mutated(&[], &mut random);
        mutated(&[vec![]], &mut random);
    }
}

fn session<'a>(marks: &'a [&'static str]) -> Session<'a> {
    Session {
        body: "own-test",
        marks,
        seed: 5,
        counts: BTreeMap::new(),
        seen: BTreeSet::new(),
        pool: vec![b"ab".to_vec()],
    }
}

#[test]
fn an_input_is_kept_when_its_marks_are_new_together() {
    let mut session = session(&["a", "b"]);
    let mut run = |input: &[u8], marks: &mut Marks| {
        if input.contains(&b'a') {
            marks.reach("a");
        }
        if input.contains(&b'b') {
            marks.reach("b");
        }
    };
    let new = [b"a", b"b", b"a"].map(|input| session.run(input, "x", &mut run));
    assert_eq!(new, [true, true, false]);
    assert!(session.run(b"ab", "x", &mut run));
    session.assert_marks();
}

#[test]
#[should_panic(expected = "the corpus no longer reaches [\"b\"]")]
fn a_mark_that_is_never_reached_is_a_failure() {
    let mut session = session(&["a", "b"]);
    session.run(b"", "x", &mut |_, marks: &mut Marks| marks.reach("a"));
    session.assert_marks();
}

#[test]
fn what_broke_it_is_written_down() {
    let mut session = session(&[]);
    let mut run = |input: &[u8], _: &mut Marks| assert!(input != b"bad", "found");
    let found = catch_unwind(AssertUnwindSafe(|| session.run(b"bad", "mutation 3", &mut run)));
    assert!(found.is_err());
    let program = std::env::current_exe().expect("a test has a program");
    let target = program.ancestors().nth(3).expect("it is in the target directory");
    let path = target.join("fuzz-failures/own-test-5-mutation-3");
    assert_eq!(std::fs::read(&path).expect("the input is there"), b"bad");
    std::fs::remove_file(path).expect("it can be removed");
}
