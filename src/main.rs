//! The `postern` command. Everything it does is in the library.

use std::process::ExitCode;

use postern::cli::{Terminal, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    run(
        std::env::args_os(),
        &mut Terminal {
            out: &mut out,
            err: &mut err,
        },
    )
    .into()
}
