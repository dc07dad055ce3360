//! Names of kernels: from the symbols rustc makes to paths and PTX entries.

/// A kernel's path below its crate and its entry in the PTX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelName {
    /// `kernels::filters::blur` or, for an instance, `kernels::axpy.f32`.
    pub path: String,
    /// `kernels__filters__blur`, `kernels__axpy_f32`: what PTX allows.
    pub entry: String,
}

impl KernelName {
    /// Reads the name out of a symbol whose last path segment begins with
    /// `mark`. Modules that `#[kernel]` and the device crate add are not part of the
    /// path; their names begin with `__raddle_`.
    pub fn from_symbol(symbol: &str, mark: &str) -> Option<Self> {
        if !symbol.contains(mark) {
            return None;
        }
        let plain = format!("{:#}", rustc_demangle::demangle(symbol));
        let (modules, last) = plain.rsplit_once("::")?;
        let name = last.strip_prefix(mark)?.replacen("__i__", ".", 1);
        let is_ours = |segment: &&str| segment.starts_with("__raddle_");
        let mut segments: Vec<&str> = modules.split("::").skip(1).filter(|s| !is_ours(s)).collect();
        segments.push(&name);
        Some(Self::from_path(segments.join("::")))
    }

    /// The same kernel as part of a program: the path begins with the program's
    /// crate name.
    pub fn in_program(self, program: Option<&str>) -> Self {
        match program {
            Some(program) => {
                Self::from_path(format!("{}::{}", program.replace('-', "_"), self.path))
            }
            None => self,
        }
    }

    fn from_path(path: String) -> Self {
        let entry = path.replace("::", "__").replace('.', "_");
        // PTX names do not begin with a digit.
        let entry = if entry.starts_with(|c: char| c.is_ascii_digit()) {
            format!("_{entry}")
        } else {
            entry
        };
        Self { path, entry }
    }
}

/// A symbol as it reads in the source: without the hash, and for what is in the user's
/// modules without the device crate and the modules that it puts above them.
pub fn demangle(symbol: &str) -> String {
    let mut text = format!("{:#}", rustc_demangle::demangle(symbol));
    while let Some(mark) = text.find(DEVICE_ROOT) {
        let number =
            text[mark + DEVICE_ROOT.len()..].bytes().take_while(u8::is_ascii_digit).count();
        let end = mark + DEVICE_ROOT.len() + number;
        let end = if text[end..].starts_with("::") { end + 2 } else { end };
        let before = text[..mark].strip_suffix("::").unwrap_or(&text[..mark]);
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let start = before.trim_end_matches(is_name).len();
        text.replace_range(start..end, "");
    }
    text
}

/// What the names of the device crate's own modules begin with.
pub const DEVICE_ROOT: &str = "__raddle_root_";

/// A symbol for functions and globals that stay in the PTX, without anything
/// that depends on where the crate lies: the readable path, with what PTX does not
/// allow replaced, and a number.
pub fn stable_symbol(symbol: &str, number: usize) -> String {
    let mut text: String =
        demangle(symbol).chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    while text.contains("__") {
        text = text.replace("__", "_");
    }
    // Cut at the front, so that the most telling part stays. Names in PTX do not
    // begin with a digit.
    let keep = text.len().saturating_sub(60);
    let kept = text[keep..].trim_matches('_');
    let start = if kept.starts_with(|c: char| c.is_ascii_digit()) { "n" } else { "" };
    format!("{start}{kept}_{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_names_come_from_symbols() {
        let symbol =
            "_ZN1k7kernels3sub15__raddle_saxpy22__raddle_kernel__saxpy17hd3bc5cb6d9682f15E";
        let symbol = symbol.replace("15__raddle_saxpy", "14__raddle_saxpy");
        let name = KernelName::from_symbol(&symbol, "__raddle_kernel__").expect("a kernel");
        assert_eq!(name.path, "kernels::sub::saxpy");
        assert_eq!(name.entry, "kernels__sub__saxpy");
        assert_eq!(
            KernelName::from_symbol("_ZN4core3fmt5write17h0123456789abcdefE", "__raddle_kernel__"),
            None
        );
    }

    #[test]
    fn instances_are_part_of_the_name() {
        let symbol = "_ZN1k7kernels26__raddle_kernel__axpy__i__f3217hd3bc5cb6d9682f15E";
        let symbol = symbol
            .replace("26__", "29__")
            .replace("29__raddle_kernel__axpy__i__f32", "30__raddle_kernel__axpy__i__f32");
        let len = "__raddle_kernel__axpy__i__f32".len();
        let symbol = symbol.replace("30__", &format!("{len}__"));
        let name = KernelName::from_symbol(&symbol, "__raddle_kernel__").expect("a kernel");
        assert_eq!(name.path, "kernels::axpy.f32");
        assert_eq!(name.entry, "kernels__axpy_f32");
    }

    #[test]
    fn the_device_crates_own_modules_are_not_shown() {
        let symbol = "_ZN3app15__raddle_root_07kernels6helper17h7e694c78d895593eE";
        assert_eq!(demangle(symbol), "kernels::helper");
        let symbol = "_ZN84_$LT$app..__raddle_root_0..kernels..A$u20$as$u20$app..__raddle_root_12..other..B$GT$3run17h7e694c78d895593eE";
        assert_eq!(demangle(symbol), "<kernels::A as other::B>::run");
    }

    #[test]
    fn stable_symbols_fit_ptx() {
        let symbol = stable_symbol("_ZN1k7kernels3sub4KEEP17h7e694c78d895593eE", 7);
        assert_eq!(symbol, "k_kernels_sub_KEEP_7");
        let long = format!("switch.table.{}7tail", "_module".repeat(9));
        for cut in 0..long.len() {
            let symbol = stable_symbol(&long[cut..], 1);
            assert!(!symbol.starts_with(|c: char| c.is_ascii_digit()), "{symbol}");
        }
    }
}
