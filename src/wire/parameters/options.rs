//! The `options` parameter: a command line in one string, as `pg_split_opts` and `process_postgres_switches` read it.
//!
//! White space separates arguments, a backslash takes the next byte as it is. Of the switches only `-c name=value`,
//! `-cname=value` and `--name=value` are allowed; a `-` in a name stands for `_`.

use super::ParameterFault;

/// Name and value of every setting, in order. Names are as PostgreSQL would look them up, except for case.
pub(super) fn settings(options: &str) -> Result<Vec<(String, String)>, ParameterFault> {
    let mut arguments = Arguments { rest: options.chars() };
    let mut settings = Vec::new();
    while let Some(argument) = arguments.next() {
        settings.push(if let Some(long) = argument.strip_prefix("--") {
            assignment("--", long)?
        } else if argument == "-c" {
            let value = arguments.next().ok_or(ParameterFault::Argument { argument })?;
            assignment("-c ", &value)?
        } else if let Some(short) = argument.strip_prefix("-c") {
            assignment("-c ", short)?
        } else {
            return Err(ParameterFault::Argument { argument });
        });
    }
    Ok(settings)
}

fn assignment(switch: &'static str, text: &str) -> Result<(String, String), ParameterFault> {
    let named = |name: &str| name.replace('-', "_");
    match text.split_once('=') {
        Some((name, value)) => Ok((named(name), value.to_owned())),
        None => Err(ParameterFault::NoValue {
            switch,
            name: named(text),
        }),
    }
}

struct Arguments<'a> {
    rest: std::str::Chars<'a>,
}

impl Iterator for Arguments<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut argument = String::new();
        let mut any = false;
        while let Some(char) = self.rest.next() {
            match char {
                space if is_space(space) && !any => continue,
                space if is_space(space) => break,
                // A backslash at the very end stands for nothing.
                '\\' => argument.extend(self.rest.next()),
                other => argument.push(other),
            }
            any = true;
        }
        any.then_some(argument)
    }
}

/// C's `isspace` in the C locale.
fn is_space(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(options: &str) -> Vec<String> {
        Arguments { rest: options.chars() }.collect()
    }

    fn pairs(options: &str) -> Vec<(String, String)> {
        settings(options).expect("legal options")
    }

    fn one(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn splits_as_pg_split_opts() {
        assert_eq!(split(""), [""; 0]);
        assert_eq!(split("  \t\n"), [""; 0]);
        assert_eq!(split(" a  b\tc\n\x0b\x0c\rd "), ["a", "b", "c", "d"]);
        assert_eq!(split(r"a\ b c\\d \e"), ["a b", r"c\d", "e"]);
        assert_eq!(split(r"a\"), ["a"]);
        assert_eq!(
            split(r"a \"),
            ["a", ""],
            "an escape that escapes nothing is an empty argument"
        );
        assert_eq!(split(r"\  b"), [" ", "b"]);
        assert_eq!(split("ä\u{a0}b"), ["ä\u{a0}b"], "only the white space of C");
    }

    #[test]
    fn every_spelling_of_a_setting() {
        for options in [
            "-c work_mem=1MB",
            "-cwork_mem=1MB",
            "--work_mem=1MB",
            "--work-mem=1MB",
            "-c   work-mem=1MB ",
        ] {
            assert_eq!(pairs(options), one("work_mem", "1MB"), "{options:?}");
        }
        assert_eq!(pairs(r"-c search_path=a,\ b=c"), one("search_path", "a, b=c"));
        assert_eq!(pairs(r"-\c role=x"), one("role", "x"), "escapes hide nothing");
        assert_eq!(pairs("-c role="), one("role", ""));
        assert_eq!(pairs("-c x-y=a-b"), one("x_y", "a-b"), "values keep their dashes");
        assert_eq!(pairs("-c --role=x"), one("__role", "x"));
        assert_eq!(pairs("-c a=1 --b=2").len(), 2);
    }

    #[test]
    fn other_switches_and_loose_words_are_refused() {
        for options in [
            "-S 64",
            "-fs",
            "-e",
            "-bcrole=x",
            "foo",
            "-",
            "-c",
            "-ca=1 foo",
            "-W 5",
            "-d5",
            "-B100",
            "\\",
        ] {
            assert!(
                matches!(settings(options), Err(ParameterFault::Argument { .. })),
                "{options:?}"
            );
        }
        for options in ["--", "--work_mem", "-cwork_mem", "-c work_mem"] {
            assert!(
                matches!(settings(options), Err(ParameterFault::NoValue { .. })),
                "{options:?}"
            );
        }
        assert_eq!(
            settings("-c work-mem").unwrap_err().to_string(),
            "-c work_mem requires a value"
        );
        assert_eq!(
            settings("--work-mem").unwrap_err().to_string(),
            "--work_mem requires a value"
        );
    }
}
