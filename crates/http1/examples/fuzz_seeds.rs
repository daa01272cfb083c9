//! Writes the wire cases as seeds for the fuzz targets: `fuzz_seeds CORPUS_FOLDER`.

use std::error::Error;
use std::fs;
use std::path::Path;

#[path = "../tests/support/case.rs"]
#[allow(dead_code, reason = "a seed needs no expectation")]
mod case;

use case::Case;
use monoceros_http1::{Framing, Head, HeadParser, Progress};

/// What the target `response_head` parts its texts with.
const SEPARATOR: u8 = 0x1e;

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = std::env::args_os().nth(1).ok_or("the corpus folder is missing")?;
    let corpus = Path::new(&corpus);
    for target in ["request_head", "chunked_body", "response_head"] {
        fs::create_dir_all(corpus.join(target))?;
    }
    for folder in ["valid", "invalid"] {
        for case in Case::all(folder) {
            let file = case.name.replace('/', "-");
            let input = [&[0, 0], &case.input[..]].concat();
            fs::write(corpus.join("request_head").join(&file), input)?;

            let mut head = Head::new();
            let parsed =
                HeadParser::new().parse(&case.input, &mut head, &case.limits, &case.policy);
            if parsed != Ok(Progress::Complete) {
                continue;
            }
            if head.framing == Framing::Chunked {
                let body = [&[0, 0], &case.input[head.length..]].concat();
                fs::write(corpus.join("chunked_body").join(&file), body)?;
            }
            let mut response = b"\x0d200 OK".to_vec();
            for field in &head.fields {
                for text in [field.name, field.value] {
                    response.push(SEPARATOR);
                    response.extend_from_slice(text.of(&case.input));
                }
            }
            fs::write(corpus.join("response_head").join(&file), response)?;
        }
    }
    Ok(())
}
