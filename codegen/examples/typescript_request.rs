//! Writes to stdout what `protoc-gen-es` is to be given so that it prints what we print: the test that compares the
//! two runs it. Arguments: the folders of a schema; none for the stack's own messages.

use std::io::Write;
use std::process::ExitCode;

use tagwire_codegen::model::Origin;
use tagwire_codegen::{Error, load, read, typescript};

fn request() -> Result<Vec<u8>, Error> {
    let roots: Vec<String> = std::env::args().skip(1).collect();
    let (model, origin) = match roots.is_empty() {
        true => (load::load_stack()?, Origin::Stack),
        false => (read(&roots)?, Origin::Game),
    };
    typescript::request(&model, origin)
}

fn main() -> ExitCode {
    match request().map(|bytes| std::io::stdout().write_all(&bytes)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
