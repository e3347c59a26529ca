//! The `sluice` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    match sluice::cli::main() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sluice: {error:#}");
            ExitCode::from(sluice::cli::EXIT_FAILED)
        }
    }
}
