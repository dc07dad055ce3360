//! Lists of kernels and of what they need, as text and as JSON.

use serde_json::{Value, json};

use super::index::ImageRecord;
use super::{Found, Image, Row};

/// The list of images as text: crate, kernel, target, entry.
#[must_use]
pub fn list_text(found: &Found) -> String {
    let mut rows = vec![["CRATE", "KERNEL", "TARGET", "CPU", "ENTRY"].map(str::to_owned).to_vec()];
    rows.extend(found.images.iter().map(|Image { package, record }| {
        let cpu = match record.synchronizes {
            Some(true) => "fibres",
            Some(false) => "loop",
            None => "-",
        };
        vec![
            package.clone(),
            record.kernel.clone(),
            target(record),
            cpu.to_owned(),
            record.entry.clone(),
        ]
    }));
    let mut text = table(&rows);
    for (kernel, message) in &found.errors {
        // The message begins with the kernel, or names what it lacks.
        let start = if message.starts_with("kernel `") { "" } else { kernel };
        let colon = if start.is_empty() { "" } else { ": " };
        text += &format!("\n{start}{colon}{message}\n");
    }
    for (package, message) in &found.remarks {
        text += &format!("\n{package}: {message}\n");
    }
    text
}

/// `sm_80`, or `sm_80 + sm_90 code` where the program holds machine code too.
fn target(record: &ImageRecord) -> String {
    let codes = record.cubins.iter().map(|architecture| format!(" + {architecture} code"));
    std::iter::once(record.target.clone()).chain(codes).collect()
}

/// The list of images as JSON.
#[must_use]
pub fn list_json(found: &Found) -> Value {
    let image = |Image { package, record }: &Image| {
        json!({
            "crate": package,
            "kernel": record.kernel,
            "target": record.target,
            "entry": record.entry,
            "ptx": record.ptx_file.display().to_string(),
            "synchronizes": record.synchronizes,
            "cubins": record.cubins,
        })
    };
    let error =
        |(kernel, message): &(String, String)| json!({ "kernel": kernel, "message": message });
    let remark =
        |(package, message): &(String, String)| json!({ "crate": package, "message": message });
    json!({
        "images": found.images.iter().map(image).collect::<Vec<_>>(),
        "errors": found.errors.iter().map(error).collect::<Vec<_>>(),
        "remarks": found.remarks.iter().map(remark).collect::<Vec<_>>(),
    })
}

/// Resources as text.
#[must_use]
pub fn resources_text(rows: &[Row<'_>]) -> String {
    let heads = ["KERNEL", "ARCH", "REGISTERS", "SPILLED", "STACK", "SHARED", "BARRIERS"];
    let mut table_rows = vec![heads.map(str::to_owned).to_vec()];
    let mut warnings = String::new();
    for Row { image, architecture, assembled } in rows {
        let need = assembled.resources;
        let kernel = &image.record.kernel;
        let mut cells = vec![kernel.clone(), architecture.clone()];
        let spilled = need.spill_store_bytes.max(need.spill_load_bytes);
        for number in [need.registers, spilled, need.stack_bytes, need.shared_bytes, need.barriers]
        {
            cells.push(number.to_string());
        }
        table_rows.push(cells);
        for warning in &assembled.warnings {
            warnings += &format!("{kernel} {architecture}: {warning}\n");
        }
    }
    table(&table_rows) + &warnings
}

/// Resources as JSON.
#[must_use]
pub fn resources_json(rows: &[Row<'_>]) -> Value {
    let row = |Row { image, architecture, assembled }: &Row<'_>| {
        let need = assembled.resources;
        json!({
            "crate": image.package,
            "kernel": image.record.kernel,
            "target": image.record.target,
            "architecture": architecture,
            "registers": need.registers,
            "spill_store_bytes": need.spill_store_bytes,
            "spill_load_bytes": need.spill_load_bytes,
            "stack_bytes": need.stack_bytes,
            "shared_bytes": need.shared_bytes,
            "barriers": need.barriers,
            "warnings": assembled.warnings,
        })
    };
    Value::Array(rows.iter().map(row).collect())
}

/// Columns as wide as their widest cell; numbers to the right.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| {
            let is_number = cell.parse::<u64>().is_ok();
            if is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_words_left_and_numbers_right() {
        let rows = [["KERNEL", "N"], ["a", "1000"], ["longer::name", "7"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "KERNEL        N\na             1000\nlonger::name     7\n");
    }
}
