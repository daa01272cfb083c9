//! Reads the cases of tests/wire; their format is in its README.

use std::fs;
use std::path::{Path, PathBuf};

use monoceros_http1::{ForwarderNames, Limits, Policy, UnderscoreNames};

pub struct Case {
    /// Folder and file name.
    pub name: String,
    pub limits: Limits,
    /// Bytes of the largest body.
    pub body_limit: u64,
    pub policy: Policy,
    pub input: Vec<u8>,
    pub expected: String,
}

impl Case {
    /// All cases of a folder (`valid` or `invalid`), in the order of their names.
    pub fn all(folder: &str) -> Vec<Case> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(root_of_wire()).join(folder);
        let mut files: Vec<PathBuf> = fs::read_dir(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .map(|entry| entry.expect("a readable folder").path())
            .collect();
        files.sort();
        assert!(files.len() > 20, "{}: cases are missing", path.display());
        files.iter().map(|file| Case::read(folder, file)).collect()
    }

    fn read(folder: &str, file: &Path) -> Case {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{folder}/{name}");
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut sections = text.split("---\n");
        let (Some(settings), Some(input), Some(expected), None) =
            (sections.next(), sections.next(), sections.next(), sections.next())
        else {
            panic!("{name}: not three sections");
        };
        assert!(settings.starts_with("# "), "{name}: does not say why");
        let mut case = Case {
            limits: Limits::default(),
            body_limit: u64::MAX,
            policy: Policy::default(),
            input: input.lines().flat_map(|line| unescape(&name, line)).collect(),
            expected: expected.to_owned(),
            name,
        };
        for line in settings.lines().filter(|line| !line.starts_with('#')) {
            case.set(line);
        }
        case
    }

    fn set(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse().expect("a number");
        match words[..] {
            ["limits", _, _, _] => self.limits = Limits::new(number(1), number(2), number(3)),
            ["body", limit] => self.body_limit = limit.parse().expect("a number"),
            ["underscores", "drop"] => self.policy.underscores = UnderscoreNames::Drop,
            ["underscores", "refuse"] => self.policy.underscores = UnderscoreNames::Refuse,
            ["underscores", "map"] => self.policy.underscores = UnderscoreNames::Map,
            ["forwarder", "*"] => self.policy.forwarder = ForwarderNames::All,
            ["forwarder", name] => {
                self.policy.forwarder = ForwarderNames::Listed(vec![name.to_owned()]);
            }
            ["permit", "obsolete-folding"] => self.policy.obsolete_folding = true,
            ["permit", "header-spaces"] => self.policy.spaces_before_colon = true,
            ["permit", "any-method"] => self.policy.any_method = true,
            ["permit", "any-method-casefold"] => {
                self.policy.any_method = true;
                self.policy.casefold_method = true;
            }
            ["permit", "any-version"] => self.policy.any_version = true,
            _ => panic!("{}: unknown setting: {line}", self.name),
        }
    }
}

fn root_of_wire() -> &'static str {
    // The fuzz crate lies one folder higher than this one.
    if env!("CARGO_MANIFEST_DIR").ends_with("fuzz") { "../tests/wire" } else { "../../tests/wire" }
}

/// The bytes of a line: `\r`, `\n`, `\t`, `\\`, `\xNN`, and all else as it stands.
fn unescape(name: &str, line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            assert!((0x20..=0x7e).contains(&first), "{name}: not escaped: {line}");
            bytes.push(first);
            continue;
        }
        let Some((&kind, after)) = rest.split_first() else {
            panic!("{name}: a backslash at the end: {line}");
        };
        rest = after;
        bytes.push(match kind {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'\\' => b'\\',
            b'x' => {
                let (digits, after) = rest.split_at(2);
                rest = after;
                let digits = std::str::from_utf8(digits).expect("two digits");
                u8::from_str_radix(digits, 16).expect("two hexadecimal digits")
            }
            _ => panic!("{name}: unknown escape: {line}"),
        });
    }
    bytes
}
