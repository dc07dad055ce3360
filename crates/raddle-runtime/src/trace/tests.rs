//! A trace of the CPU device is JSON that names what was done.

use crate::tests::{saxpy, stream};
use crate::{Error, Grid, finish_trace, start_trace};

/// One test, since a process has one trace.
#[test]
fn a_trace_is_json_with_a_span_for_each_piece_of_work() {
    let path = std::env::temp_dir().join(format!("raddle-trace-{}.json", std::process::id()));
    start_trace(&path).unwrap();
    let again = start_trace("/nowhere/else.json").unwrap_err();
    assert!(again.to_string().contains("already"), "{again}");
    let stream = stream();
    let x = stream.filled(100, 1.0f32).unwrap();
    let mut y = stream.zeros::<f32>(100).unwrap();
    let (graph, ()) = stream
        .capture(|stream| stream.launch(Grid::cover(100, 32), saxpy(2.0, &x, &mut y)).map(|_| ()))
        .unwrap();
    graph.launch(&stream).unwrap();
    stream.launch(Grid::cover(100, 32), saxpy(2.0, &x, &mut y)).unwrap();
    assert_eq!(y.to_vec().unwrap(), [4.0; 100]);
    drop((graph, y));
    finish_trace().unwrap();
    finish_trace().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    check_json(&text);
    for part in [
        "\"name\":\"test::saxpy\",\"cat\":\"launch\",\"ph\":\"X\"",
        "\"name\":\"a graph's replay\"",
        "\"name\":\"fill\"",
        "\"name\":\"download\"",
        "\"name\":\"allocate\",\"cat\":\"memory\"",
        "\"name\":\"free\"",
        "\"name\":\"live bytes of cpu\",\"ph\":\"C\"",
        "\"name\":\"process_name\",\"ph\":\"M\",\"pid\":2",
        "\"args\":{\"unfinished device spans\":0}",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let error = start_trace("/nowhere/at/all/trace.json").unwrap_err();
    assert!(matches!(error, Error::Trace { .. }), "{error}");
}

/// Objects, one a line, in an array; brackets and quotes are balanced.
fn check_json(text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[lines.len() - 1]), ("[", "]"));
    let objects = &lines[1..lines.len() - 1];
    assert!(objects.len() > 10);
    for (i, line) in objects.iter().enumerate() {
        let comma = if i + 1 < objects.len() { "," } else { "" };
        let object = line.strip_suffix(comma).unwrap();
        assert!(object.starts_with('{') && object.ends_with('}'), "{object}");
        let quotes = object.matches('"').count() - object.matches("\\\"").count();
        assert!(quotes % 2 == 0 && object.matches('{').count() == object.matches('}').count());
    }
}
