//! Choices of kernels on disk, so that a second start measures nothing.
//!
//! One small file for each GPU, driver, version of the kernels and element type, below
//! the folder where the runtime keeps its cubins; a line is a convolution's numbers, the
//! kernel's name and the seconds that it took. A file appears by renaming. A line that
//! says nothing of a candidate is left out and measured anew: a wrong file can make a
//! model slower, never wrong. Where nothing can be read or written, each start measures.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use raddle::Device;
use raddle_kernels::conv::Choice;

/// Choices that were found in the file or measured since.
#[derive(Debug, Default)]
pub struct Kept {
    /// `None` where nothing is kept.
    file: Option<PathBuf>,
    lines: HashMap<String, (String, f64)>,
    is_changed: bool,
}

impl Kept {
    /// What is kept for a device and an element type.
    pub fn open(device: &Device, element: &str) -> Self {
        let Some((folder, identity)) = device.cache() else { return Self::default() };
        let kernels = raddle_kernels::DIGEST;
        let name = format!("{:016x}.tsv", digest(&[&identity, kernels, element]));
        Self::of_file(folder.join("choices").join(name))
    }

    fn of_file(file: PathBuf) -> Self {
        let lines = read(&file);
        Self { file: Some(file), lines, is_changed: false }
    }

    /// What was chosen among `candidates`, and its seconds.
    pub fn find(&self, key: &str, candidates: &[Choice]) -> Option<(Choice, f64)> {
        let (name, seconds) = self.lines.get(key)?;
        let choice = candidates.iter().find(|choice| choice.to_string() == *name)?;
        Some((*choice, *seconds))
    }

    /// Notes what was measured.
    pub fn note(&mut self, key: &str, choice: Choice, seconds: f64) {
        self.lines.insert(key.to_owned(), (choice.to_string(), seconds));
        self.is_changed = true;
    }

    /// Writes the file if something was noted, with what others wrote meanwhile.
    pub fn write(&mut self) {
        let Some(file) = self.file.as_deref().filter(|_| self.is_changed) else { return };
        for (key, line) in read(file) {
            self.lines.entry(key).or_insert(line);
        }
        self.is_changed = write(file, &self.lines).is_err();
    }
}

fn read(file: &Path) -> HashMap<String, (String, f64)> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = |line: &str| {
        let [key, name, seconds] = line.split('\t').collect::<Vec<_>>().try_into().ok()?;
        let seconds = seconds.parse().ok().filter(|s: &f64| s.is_finite())?;
        Some((key.to_owned(), (name.to_owned(), seconds)))
    };
    text.lines().filter_map(line).collect()
}

fn write(file: &Path, lines: &HashMap<String, (String, f64)>) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let lines = lines.iter().map(|(key, (name, seconds))| format!("{key}\t{name}\t{seconds:e}\n"));
    let draft = file.with_extension(format!("draft-{}", std::process::id()));
    let written = std::fs::write(&draft, lines.collect::<String>());
    let renamed = written.and_then(|()| std::fs::rename(&draft, file));
    if renamed.is_err() {
        // There may be none.
        let _ = std::fs::remove_file(&draft);
    }
    renamed
}

/// FNV-1a, which tells names apart and need not withstand anybody.
fn digest(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use raddle_kernels::conv::Tile;

    use super::*;

    const ONE: Choice = Choice { tile: Tile::C64P64, split: 1, is_shifted: false };
    const TWO: Choice = Choice { tile: Tile::C64P64, split: 2, is_shifted: false };

    #[test]
    fn what_was_noted_is_found_at_the_next_start() {
        let folder = std::env::temp_dir().join(format!("raddle-choices-{}", std::process::id()));
        let file = folder.join("a.tsv");
        let (mut first, mut second) = (Kept::of_file(file.clone()), Kept::of_file(file.clone()));
        first.note("1 [7, 7] 64", ONE, 1.5e-6);
        first.write();
        second.note("2 [7, 7] 64", TWO, 2e-6);
        second.write();
        let found = Kept::of_file(file.clone());
        assert_eq!(found.find("1 [7, 7] 64", &[TWO, ONE]), Some((ONE, 1.5e-6)));
        assert_eq!(found.find("2 [7, 7] 64", &[TWO, ONE]), Some((TWO, 2e-6)));
        assert_eq!(found.find("2 [7, 7] 64", &[ONE]), None, "no candidate any more");
        assert_eq!(found.find("3", &[ONE]), None);
        std::fs::write(&file, "1 [7, 7] 64\tgathered 64x64\tNaN\nno line\n").unwrap();
        assert!(Kept::of_file(file).lines.is_empty());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn names_are_told_apart() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    }
}
