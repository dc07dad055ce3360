//! Every row of the intrinsic table is given to `ptxas`, once for the oldest
//! architecture and PTX version that it claims and once for `sm_90a`.
//!
//! `ptxas` is looked for in `RADDLE_PTXAS` and on the path; without it the rows
//! are still parsed, and the test says how many were not assembled.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use raddle_device::table::{Intrinsic, TABLES};

#[test]
fn rows_are_well_formed() {
    for row in rows() {
        let body = body(row).unwrap_or_else(|why| panic!("{}: {why}", row.name));
        assert!(!body.contains('$'), "{}: a register is left over in {body}", row.name);
        let synchronises = ["bar.", "barrier.", ".sync", "activemask"];
        if synchronises.iter().any(|word| template(row).contains(word)) {
            assert!(flags(row).contains(".c"), "{}: must be convergent", row.name);
            // A matrix product whose result nobody reads may be dropped.
            let is_product = template(row).starts_with("mma.sync");
            assert!(is_product || flags(row).contains(".v"), "{}: must not be dropped", row.name);
        }
    }
}

#[test]
fn rows_assemble() {
    let Some(ptxas) = ptxas() else {
        println!("SKIPPED: {} rows not assembled: no ptxas (set RADDLE_PTXAS)", rows().count());
        return;
    };
    let mut targets: Vec<Target> = rows().map(Target::oldest).collect();
    targets.sort_unstable();
    targets.dedup();
    for target in targets {
        assemble(&ptxas, target, rows().filter(|row| Target::oldest(row) == target));
    }
    let newest = rows().map(|row| row.ptx).max().map_or(80, |ptx| ptx.max(80));
    let hopper = Target { name: "sm_90a", ptx: newest };
    assemble(&ptxas, hopper, rows());
}

/// What a PTX module is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    name: &'static str,
    ptx: u32,
}

impl Target {
    /// The oldest target that `row` claims to run on and that `ptxas` still has.
    fn oldest(row: &Intrinsic) -> Self {
        let (name, ptx) = match row.architecture {
            0..=75 => ("sm_75", 63),
            80 => ("sm_80", 70),
            89 => ("sm_89", 78),
            90 => ("sm_90a", 80),
            other => panic!("{}: no such architecture: sm_{other}", row.name),
        };
        Self { name, ptx: row.ptx.max(ptx) }
    }
}

fn rows() -> impl Iterator<Item = &'static Intrinsic> {
    TABLES.iter().copied().flatten()
}

/// Assembles the rows as one module; on failure, each by itself to name it.
fn assemble(ptxas: &PathBuf, target: Target, rows: impl Iterator<Item = &'static Intrinsic>) {
    let rows: Vec<_> = rows.collect();
    let Err(all) = run_ptxas(ptxas, target, &rows) else { return };
    for row in &rows {
        if let Err(output) = run_ptxas(ptxas, target, &[row]) {
            panic!("{} for {target:?}: {}\n{output}", row.name, row.link);
        }
    }
    panic!("{target:?}: the rows assemble one by one but not together:\n{all}");
}

fn run_ptxas(ptxas: &PathBuf, target: Target, rows: &[&Intrinsic]) -> Result<(), String> {
    let mut text = format!(
        ".version {}.{}\n.target {}\n.address_size 64\n",
        target.ptx / 10,
        target.ptx % 10,
        target.name
    );
    for (index, row) in rows.iter().enumerate() {
        let body = body(row).map_err(|why| format!("{}: {why}", row.name))?;
        writeln!(text, ".visible .entry row{index}() {{\n{body}\nret;\n}}").unwrap();
    }
    let folder = std::env::temp_dir();
    let stem = format!("raddle-rows-{}-{}-{}", std::process::id(), target.name, target.ptx);
    let (source, object) =
        (folder.join(format!("{stem}.ptx")), folder.join(format!("{stem}.cubin")));
    std::fs::write(&source, text).unwrap();
    let output = Command::new(ptxas)
        .arg(format!("-arch={}", target.name))
        .args(["-O0".as_ref(), source.as_os_str(), "-o".as_ref(), object.as_os_str()])
        .output()
        .expect("ptxas starts");
    let _ = std::fs::remove_file(&source);
    let _ = std::fs::remove_file(&object);
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn ptxas() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("RADDLE_PTXAS") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("ptxas")).find(|file| file.is_file())
}

fn flags(row: &Intrinsic) -> &'static str {
    row.link.split(':').next().unwrap_or("")
}

fn template(row: &Intrinsic) -> &'static str {
    row.link.splitn(3, ':').nth(2).unwrap_or("")
}

/// The row's template with registers in place of its operands, and their
/// declarations: what the compiler would write, by the grammar in `asm.rs`.
fn body(row: &Intrinsic) -> Result<String, String> {
    let mut parts = row.link.splitn(3, ':');
    let (head, constraints, template) = match (parts.next(), parts.next(), parts.next()) {
        (Some(head), Some(constraints), Some(template)) => (head, constraints, template),
        _ => return Err(format!("not a link name: {}", row.link)),
    };
    if !["raddle.asm", "raddle.asm.c", "raddle.asm.v", "raddle.asm.c.v"].contains(&head) {
        return Err(format!("unknown kind: {head}"));
    }
    let mut operands = Vec::new();
    let mut declarations = String::new();
    for constraint in constraints.split(',').filter(|c| !c.is_empty() && !c.starts_with('~')) {
        let plain = constraint.trim_start_matches(['=', '+']);
        let (class, count) = match plain.split_once('*') {
            Some((class, count)) => (class, count.parse().map_err(|_| constraint.to_owned())?),
            None => (plain, 1),
        };
        for _ in 0..count {
            let name = format!("%operand{}", operands.len());
            match register(class)? {
                Some(kind) => {
                    writeln!(declarations, ".reg {kind} {name};").unwrap();
                    operands.push(name);
                }
                None => operands.push("1".to_owned()),
            }
        }
    }
    // Longer numbers first, so that `$1` does not match the start of `$10`.
    let mut text = template.to_owned();
    for (index, operand) in operands.iter().enumerate().rev() {
        if !text.contains(&format!("${index}")) {
            return Err(format!("operand ${index} is not used"));
        }
        text = text.replace(&format!("${index}"), operand);
    }
    Ok(declarations + &text.replace("$$", "$"))
}

/// The PTX register type of a constraint class; `None` for constants.
fn register(class: &str) -> Result<Option<&'static str>, String> {
    match class {
        "h" => Ok(Some(".b16")),
        "r" => Ok(Some(".b32")),
        "l" => Ok(Some(".b64")),
        "q" => Ok(Some(".b128")),
        "f" => Ok(Some(".f32")),
        "d" => Ok(Some(".f64")),
        "n" => Ok(None),
        other => Err(format!("unknown register class: {other}")),
    }
}
