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

/// Keys that may not be used, or a failure behind the last success.
fn is_in_trouble(provider: &Value) -> bool {
    provider["keys_usable"] == false
}

fn table(list: &[Value]) -> String {
    if list.is_empty() {
        return "the policy in force asks no provider".to_owned();
    }
    let head = [
        "provider",
        "kind",
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
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn row(provider: &Value) -> [String; 8] {
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
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_of_what_the_gate_answers() {
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n[{\"name\":\"corp\",\"kind\":\"keys\",\
                      \"keys\":[\"a\",\"b\"],\"keys_age_seconds\":12,\"keys_usable\":true,\"usable_until\":\"2026-11-28T00:00:00Z\",\
                      \"last_error\":null,\"fetches\":3,\"failures\":0}]";
        let list = read(answer).expect("a list");
        assert_eq!(
            table(&list),
            "provider  kind  keys  age  usable until          fetches  failures  last error\n\
             corp      keys  2     12s  2026-11-28T00:00:00Z  3        0         -"
        );
        assert!(!is_in_trouble(&list[0]) && is_in_trouble(&json!({"keys_usable": false})));
        assert!(read("HTTP/1.1 404 Not Found\r\n\r\n").is_err());
    }
}
