//! `postern providers`: how a running gate stands with its identity providers, from its admin address.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::arguments::Providers;
use super::{Exit, Terminal, say};
use crate::config;

/// For each of connecting, asking and reading.
const PATIENCE: Duration = Duration::from_secs(5);

pub fn run(arguments: &Providers, terminal: &mut Terminal<'_>) -> Exit {
    let address = match address(arguments) {
        Ok(address) => address,
        Err(why) => return say(terminal.err, Exit::BadInput, format_args!("{why}")),
    };
    let list = match ask(address).and_then(|answer| read(&answer)) {
        Ok(list) => list,
        Err(why) => return say(terminal.err, Exit::Unavailable, format_args!("{address}: {why}")),
    };
    let exit = if list.iter().any(is_in_trouble) {
        Exit::Found
    } else {
        Exit::Ok
    };
    say(terminal.out, exit, format_args!("{}", table(&list)))
}

fn address(arguments: &Providers) -> Result<SocketAddr, String> {
    if let Some(address) = arguments.admin {
        return Ok(address);
    }
    let config = config::load(&arguments.config).map_err(|fault| fault.to_string())?;
    let admin = config.admin.ok_or("the configuration has no [admin] address")?;
    Ok(admin.address)
}

fn ask(address: SocketAddr) -> Result<String, String> {
    let words = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(words)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(words)?;
    stream
        .write_all(b"GET /providers HTTP/1.1\r\nHost: postern\r\nConnection: close\r\n\r\n")
        .map_err(words)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(words)?;
    Ok(answer)
}

fn read(answer: &str) -> Result<Vec<Value>, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(head.lines().next().unwrap_or_default().to_owned());
    }
    serde_json::from_str(body).map_err(|error| error.to_string())
}

/// Keys that may not be used, or a last try that failed. A gate from before `last_try_failed` says only the first.
fn is_in_trouble(provider: &Value) -> bool {
    provider["keys_usable"] == false || provider["last_try_failed"] == true
}

fn table(list: &[Value]) -> String {
    if list.is_empty() {
        return "the policy in force asks no provider".to_owned();
    }
    let head = [
        "provider",
        "kind",
        "state",
        "keys",
        "age",
        "usable until",
        "fetches",
        "failures",
        "last error",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(list.iter().map(row));
    let widths: Vec<usize> = (0..head.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &[String; 9]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The worst first: what the exit code speaks of.
fn state(provider: &Value) -> &'static str {
    match (provider["keys_usable"] == false, provider["last_try_failed"] == true) {
        (true, true) => "no keys, failing",
        (true, false) => "no keys",
        (false, true) => "failing",
        (false, false) => "ok",
    }
}

fn row(provider: &Value) -> [String; 9] {
    let text = |key: &str| match &provider[key] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.escape_debug().to_string(),
        other => other.to_string(),
    };
    let keys = provider["keys"].as_array().map_or(0, Vec::len);
    let age = provider["keys_age_seconds"]
        .as_u64()
        .map_or("-".to_owned(), |age| format!("{age}s"));
    let error = match provider["last_error"].is_null() {
        true => "-".to_owned(),
        false => format!("{} ({})", text("last_error"), text("last_error_at")),
    };
    [
        text("name"),
        text("kind"),
        state(provider).to_owned(),
        keys.to_string(),
        age,
        text("usable_until"),
        text("fetches"),
        text("failures"),
        error,
    ]
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use serde_json::json;

    use super::super::tests::assert_golden;
    use super::*;

    fn keys() -> Value {
        json!({
            "name": "corp", "kind": "keys", "keys": ["a", "b"], "keys_age_seconds": 12, "keys_usable": true,
            "usable_until": "2026-11-28T00:00:00Z", "last_error": null, "last_error_at": null,
            "last_try_failed": false, "fetches": 3, "failures": 0,
        })
    }

    fn failed(mut provider: Value, last_try: bool) -> Value {
        provider["last_error"] = json!("https://idp.example/keys: answered with status 500");
        provider["last_error_at"] = json!("2026-11-27T00:00:00Z");
        provider["failures"] = json!(1);
        provider["last_try_failed"] = json!(last_try);
        provider
    }

    fn hook() -> Value {
        json!({
            "name": "hr", "kind": "webhook", "keys": [], "keys_age_seconds": null, "keys_usable": null,
            "usable_until": null, "last_error": null, "last_error_at": null, "last_try_failed": false,
            "fetches": 7, "failures": 0,
        })
    }

    fn without_keys(mut provider: Value) -> Value {
        provider["keys_usable"] = json!(false);
        provider
    }

    /// What the command says to a gate that answers once with `list`.
    fn asked(list: &Value) -> (Exit, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
        let address = listener.local_addr().expect("an address").to_string();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{list}");
        let gate = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 512];
            let read = stream.read(&mut request).expect("a request");
            assert!(request[..read].starts_with(b"GET /providers "));
            stream.write_all(answer.as_bytes()).expect("an answer");
        });
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal {
            out: &mut out,
            err: &mut err,
        };
        let arguments = ["postern", "providers", "--admin", &address];
        let exit = super::super::run(arguments.into_iter().map(Into::into), &mut terminal);
        gate.join().expect("no panic");
        assert!(err.is_empty());
        (exit, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn what_fails_now_is_found_and_what_failed_once_is_not() {
        let good = json!([keys(), hook(), failed(keys(), false)]);
        for (list, exit) in [
            (good, Exit::Ok),
            (json!([hook(), failed(keys(), true)]), Exit::Found),
            (json!([keys(), failed(hook(), true)]), Exit::Found),
            (json!([without_keys(keys())]), Exit::Found),
            (json!([]), Exit::Ok),
        ] {
            assert_eq!(asked(&list).0, exit, "{list}");
        }
    }

    #[test]
    fn the_table_is_as_written() {
        let list = json!([
            keys(),
            failed(keys(), true),
            without_keys(failed(keys(), true)),
            failed(hook(), false)
        ]);
        assert_golden("providers.txt", &asked(&list).1, None);
    }

    #[test]
    fn another_answer_is_no_list() {
        assert!(read("HTTP/1.1 404 Not Found\r\n\r\n").is_err());
        assert!(read("HTTP/1.1 200 OK").is_err());
    }
}
