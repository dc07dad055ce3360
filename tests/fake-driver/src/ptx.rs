//! What the fake needs to know of PTX: entries with the layout of their
//! parameters, and the size of global variables. It does not assemble anything.

/// One `.entry` with offset and size of each parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) params: Vec<(usize, usize)>,
}

/// What a module offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) entries: Vec<Entry>,
    /// Name and bytes.
    pub(crate) globals: Vec<(String, u64)>,
}

/// Reads PTX text; `None` if it has no `.version`, as a real assembler demands.
pub(crate) fn read(text: &str) -> Option<Contents> {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    if !text.contains(".version") {
        return None;
    }
    let mut contents = Contents::default();
    for (at, _) in text.match_indices(".entry") {
        contents.entries.extend(read_entry(&text[at + ".entry".len()..]));
    }
    for (at, _) in text.match_indices(".global") {
        let declaration = text[at..].split(';').next().unwrap_or_default();
        // `ld.global.u32` is an instruction.
        let is_instruction = text[..at].ends_with(|c: char| c.is_alphanumeric());
        if !is_instruction {
            contents.globals.extend(read_variable(declaration));
        }
    }
    Some(contents)
}

fn read_entry(text: &str) -> Option<Entry> {
    let name: String = text.trim_start().chars().take_while(|c| is_name(*c)).collect();
    let rest = text.trim_start()[name.len()..].trim_start();
    let list = match rest.strip_prefix('(') {
        Some(list) => list.split(')').next()?,
        None => "",
    };
    let mut params = Vec::new();
    let mut end = 0usize;
    for parameter in list.split(',').filter(|parameter| parameter.contains(".param")) {
        let (bytes, align) = size_and_align(parameter)?;
        let offset = end.next_multiple_of(align);
        params.push((offset, bytes));
        end = offset + bytes;
    }
    Some(Entry { name, params })
}

fn read_variable(declaration: &str) -> Option<(String, u64)> {
    let declared = declaration.split('=').next()?.trim();
    let name_end = declared.find('[').unwrap_or(declared.len());
    let name = declared[..name_end].trim().rsplit(char::is_whitespace).next()?;
    let (bytes, _) = size_and_align(declared)?;
    Some((name.to_owned(), bytes as u64))
}

/// Size and alignment of `.param .align 8 .b8 p[40]`, `.param .u64 x` and the like.
fn size_and_align(text: &str) -> Option<(usize, usize)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let element = words.iter().find_map(|word| {
        let bits: String = word.strip_prefix('.')?.chars().skip(1).collect();
        let is_type = word.starts_with(".b")
            || word.starts_with(".u")
            || word.starts_with(".s")
            || word.starts_with(".f");
        bits.parse::<usize>().ok().filter(|_| is_type).map(|bits| bits / 8)
    })?;
    let len = match text.split_once('[') {
        Some((_, rest)) => rest.split(']').next()?.trim().parse().ok()?,
        None => 1,
    };
    let align = words.iter().position(|word| *word == ".align").and_then(|at| words.get(at + 1));
    let align = align.and_then(|number| number.parse().ok()).unwrap_or(element);
    Some((element * len, align.max(1)))
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_globals_are_read() {
        let text = "// .entry no(\n.version 7.0\n.visible .global .align 8 .b8 slot[16];\n\
            .global .u32 word = 4;\n\
            .visible .entry one(.param .align 8 .b8 p[40])\n{ ld.global.u32 %r6, [%d10]; }\n\
            .entry two(.param .f32 a,\n .param .u64 b, .param .u8 c) { ret; }\n.entry none { }";
        let contents = read(text).unwrap();
        let entry = |name: &str, params: &[(usize, usize)]| Entry {
            name: name.to_owned(),
            params: params.to_vec(),
        };
        assert_eq!(
            contents.entries,
            [
                entry("one", &[(0, 40)]),
                entry("two", &[(0, 4), (8, 8), (16, 1)]),
                entry("none", &[])
            ]
        );
        assert_eq!(contents.globals, [("slot".to_owned(), 16), ("word".to_owned(), 4)]);
        assert_eq!(read("not ptx"), None);
    }
}
