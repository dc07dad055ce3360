//! Reading the index.

use crate::index::{CubinRecord, ImageRecord, Index, parse};

#[test]
fn records_are_read_and_unescaped() {
    let records = parse(
        "image\ta::k.f32\tsm_90a\ta__k_f32\tk.ptx\t1\ncubin\ta::k.f32\tsm_90a\tsm_90a\t13.0\tk.cubin\n\nerror\ta::l\tone\\n  two\\t\\\\n\nrustc\tdemo\tno\nrustc\t\tnever\n",
        "/out/raddle",
    )
    .expect("well formed");
    assert_eq!(
        records.images,
        [ImageRecord {
            path: "a::k.f32".into(),
            target: "sm_90a".into(),
            entry: "a__k_f32".into(),
            file: "/out/raddle/k.ptx".into(),
            synchronizes: true,
            cubins: vec![CubinRecord {
                architecture: "sm_90a".into(),
                cuda: (13, 0),
                file: "/out/raddle/k.cubin".into(),
            }],
        }]
    );
    assert_eq!(records.errors, [("a::l".to_owned(), "one\n  two\t\\n".to_owned())]);
    assert_eq!(records.refused_program("demo"), Some("no"));
    assert_eq!(records.refused_program("other"), None);
    assert_eq!(records.refused_files(), Some("never"));
    assert!(!records.is_off);
    assert_eq!(records.images_of("k.f32").count(), 1);
    assert_eq!(records.images_of("k").count(), 0);
    assert_eq!(records.errors_of("l").count(), 1);
}

#[test]
fn a_damaged_index_is_a_problem_and_no_panic() {
    for line in [
        "image\ta",
        "image\ta\tb\tc\td\t2",
        "cubin\ta\tsm_80\tsm_80\t13.0\tof-no-image",
        "unknown\tx",
        "rustc\tx",
        "error\ta",
        "off\tx",
        "\u{0}",
    ] {
        let problem = parse(&format!("rustc\t\tfine\n{line}\n"), "").expect_err(line);
        assert_eq!(problem, "line 2 is not a record of this version of raddle");
    }
    assert!(parse("rustc\t\tends in a backslash\\", "").is_ok());
}

#[test]
fn folders_without_an_index() {
    let dir = std::env::temp_dir().join(format!("raddle-macros-index-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a scratch folder");
    assert!(matches!(Index::read(&dir), Index::Missing));
    assert!(matches!(Index::read(&dir.join("none")), Index::Missing));
    std::fs::write(dir.join("index.tsv"), [0xff, 0xfe]).expect("a scratch file");
    assert!(
        matches!(Index::read(&dir), Index::Unreadable(problem) if problem.contains("index.tsv"))
    );
    std::fs::write(dir.join("index.tsv"), "off\n").expect("a scratch file");
    assert!(matches!(Index::read(&dir), Index::Built(records) if records.is_off));
    std::fs::remove_dir_all(&dir).expect("the scratch folder goes");
}
