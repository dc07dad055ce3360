//! The header of a program file: the `//!` lines that say how to run it.
//!
//! ```text
//! //! Labelled breaks leave nested loops.
//! //! run: threads = 64
//! //! input: f32 x 256
//! //! ulp: 2
//! ```
//!
//! `run` also takes `block = N` (threads of a block; 32 if absent). `input` gives the
//! program a second parameter, a slice of that type. `ulp` states how far floats may
//! be from the expected ones; without it results are compared bit by bit. `device`
//! says that the program uses the vocabulary of device code, so that it cannot be
//! called as a plain function. `panics` says that the program panics. `gap` states why
//! the program cannot be compiled for a GPU yet; it is called as a plain function only,
//! and listed with the reason.
//! The build script and the suite both read headers through this module.

/// How to run one program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The first sentence.
    pub summary: String,
    /// Threads of the launch.
    pub threads: u32,
    /// Threads of a block.
    pub block: u32,
    /// Element type and length of the input slice.
    pub input: Option<(String, usize)>,
    /// Permitted distance of floats, in units in the last place.
    pub ulp: u32,
    /// Whether the program only makes sense inside a kernel.
    pub is_device_only: bool,
    /// Whether the program panics.
    pub panics: bool,
    /// Why there is no kernel of the program.
    pub gap: Option<String>,
}

impl Header {
    /// Reads the header of a program's source.
    ///
    /// ## Errors
    ///
    /// What is wrong with the header, without the file name.
    pub fn parse(source: &str) -> Result<Self, String> {
        let mut header = Self {
            summary: String::new(),
            threads: 0,
            block: 32,
            input: None,
            ulp: 0,
            is_device_only: false,
            panics: false,
            gap: None,
        };
        for line in source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim) {
            match line.split_once(':').map(|(key, value)| (key, value.trim())) {
                Some(("run", value)) => header.parse_run(value)?,
                Some(("input", value)) => header.input = Some(parse_input(value)?),
                Some(("gap", value)) => header.gap = Some(value.to_owned()),
                Some(("ulp", value)) => header.ulp = parse_number("ulp", value)?,
                _ if line == "device" => header.is_device_only = true,
                _ if line == "panics" => header.panics = true,
                _ if header.threads == 0 => {
                    header.summary.push_str(if header.summary.is_empty() { "" } else { " " });
                    header.summary.push_str(line);
                }
                _ => return Err(format!("`{line}` is no entry of a header")),
            }
        }
        if header.summary.is_empty() {
            return Err("the file does not begin with a `//!` sentence".to_owned());
        }
        if header.threads == 0 || header.block == 0 || !header.threads.is_multiple_of(header.block)
        {
            return Err(format!(
                "`run: threads = N` must name a multiple of the block's {} threads, found {}",
                header.block, header.threads
            ));
        }
        Ok(header)
    }

    fn parse_run(&mut self, value: &str) -> Result<(), String> {
        for part in value.split(',') {
            match part.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
                Some(("threads", value)) => self.threads = parse_number("threads", value)?,
                Some(("block", value)) => self.block = parse_number("block", value)?,
                _ => return Err(format!("`{part}` is no entry of `run`")),
            }
        }
        Ok(())
    }
}

fn parse_input(value: &str) -> Result<(String, usize), String> {
    let (element, len) = value
        .split_once(" x ")
        .ok_or_else(|| format!("`input: {value}` is not `TYPE x LENGTH`"))?;
    Ok((element.to_owned(), parse_number("input", len)?))
}

fn parse_number<N: std::str::FromStr>(key: &str, value: &str) -> Result<N, String> {
    value.parse().map_err(|_| format!("`{key}`: `{value}` is no number"))
}
