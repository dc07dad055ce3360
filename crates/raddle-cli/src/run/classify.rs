//! From a classifier's output to the best classes with their names.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use raddle_tensor::Value;
use raddle_tensor::convert::Compute;
use raddle_tensor::graph::Graph;

/// Options that say how classes are shown.
#[derive(Debug, clap::Args)]
pub struct ClassOptions {
    /// Names of the classes, one a line, in the order of the model's output.
    #[arg(long, value_name = "FILE", requires = "image")]
    labels: Option<PathBuf>,
    /// How many of the best classes to print.
    #[arg(long, default_value_t = 5, value_name = "N")]
    top: usize,
}

/// Why classes cannot be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassifyError {
    /// The labels could not be read.
    #[error("{}: {source}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The model has more or fewer classes than there are labels.
    #[error("{}: {expected} labels expected, one a line, found {found}", path.display())]
    LabelCount {
        /// The file.
        path: PathBuf,
        /// Classes of the model.
        expected: usize,
        /// Lines of the file.
        found: usize,
    },
    /// The model is no classifier.
    #[error(
        "the model is no classifier: its first output {name} is {found}, expected [n, classes]"
    )]
    NoClassifier {
        /// The output.
        name: String,
        /// What it is.
        found: String,
    },
    /// The values are no floats.
    #[error(transparent)]
    Tensor(#[from] raddle_tensor::Error),
}

/// A class and its probability.
pub type Best = Vec<(usize, f32)>;

/// Tells the best classes.
pub struct Classifier {
    labels: Option<(PathBuf, Vec<String>)>,
    top: usize,
    /// Whether the model gives probabilities itself.
    is_softmax: bool,
}

impl Classifier {
    /// A classifier for the first output of a model.
    ///
    /// ## Errors
    /// [`ClassifyError::Labels`].
    pub fn new(graph: &Graph, options: &ClassOptions) -> Result<Self, ClassifyError> {
        let read = |path: &PathBuf| match std::fs::read_to_string(path) {
            Ok(text) => Ok((path.clone(), text.lines().map(str::to_owned).collect())),
            Err(source) => Err(ClassifyError::Labels { path: path.clone(), source }),
        };
        let labels = options.labels.as_ref().map(read).transpose()?;
        let last = graph.outputs.first();
        let maker = graph.nodes.iter().find(|node| node.outputs.iter().flatten().next() == last);
        let is_softmax = maker.is_some_and(|node| node.op.name == "Softmax");
        Ok(Self { labels, top: options.top, is_softmax })
    }

    /// The best classes of each of `count` pictures.
    ///
    /// ## Errors
    /// [`ClassifyError::NoClassifier`], [`ClassifyError::LabelCount`].
    pub fn classify(
        &self,
        outputs: &[(String, Value)],
        count: usize,
    ) -> Result<Vec<Best>, ClassifyError> {
        let Some((name, value)) = outputs.first() else { return Ok(Vec::new()) };
        let refuse = || ClassifyError::NoClassifier {
            name: name.clone(),
            found: super::outputs::describe(value),
        };
        let tensor = value.as_tensor().ok_or_else(refuse)?;
        // [n, classes], with dimensions of 1 behind as some models have them.
        let classes = match tensor.shape() {
            [n, classes, rest @ ..] if *n <= count && rest.iter().all(|&dim| dim == 1) => *classes,
            _ => return Err(refuse()),
        };
        if classes == 0 || !tensor.dtype().is_float() {
            return Err(refuse());
        }
        if let Some((path, labels)) = &self.labels
            && labels.len() != classes
        {
            let (path, found) = (path.clone(), labels.len());
            return Err(ClassifyError::LabelCount { path, expected: classes, found });
        }
        let elements = f32::widen(tensor)?;
        Ok(elements.chunks_exact(classes).map(|row| self.best(row)).collect())
    }

    fn best(&self, row: &[f32]) -> Best {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        let max = row[order[0]];
        let sum: f32 = row.iter().map(|x| (x - max).exp()).sum();
        let probability = |x: f32| if self.is_softmax { x } else { (x - max).exp() / sum };
        order.iter().take(self.top).map(|&class| (class, probability(row[class]))).collect()
    }

    /// A picture with its best classes, a line each.
    pub fn describe(&self, path: &Path, best: &Best) -> String {
        let mut text = format!("{}\n", path.display());
        for (class, probability) in best {
            let label = match &self.labels {
                Some((_, labels)) => labels[*class].clone(),
                None => format!("class {class}"),
            };
            writeln!(text, "  {:6.2} %  {label}", probability * 100.0).expect("text takes all");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raddle_tensor::Tensor;

    #[test]
    fn the_best_classes_come_first() {
        let labels = ["cat", "dog", "owl"].map(str::to_owned).to_vec();
        let classifier =
            Classifier { labels: Some(("l.txt".into(), labels)), top: 2, is_softmax: false };
        let logits = Tensor::new(&[1, 3], vec![0.0f32, 2.0, 1.0]).unwrap();
        let outputs = [("logits".to_owned(), Value::Tensor(logits))];
        let best = classifier.classify(&outputs, 1).unwrap();
        assert_eq!(
            classifier.describe(Path::new("a.png"), &best[0]),
            "a.png\n   66.52 %  dog\n   24.47 %  owl\n"
        );
        let wide = Tensor::new(&[1, 2], vec![0.0f32, 2.0]).unwrap();
        let error = classifier.classify(&[("y".into(), Value::Tensor(wide))], 1).unwrap_err();
        assert_eq!(error.to_string(), "l.txt: 2 labels expected, one a line, found 3");
        let odd = Tensor::new(&[3], vec![0i64, 2, 1]).unwrap();
        let error = classifier.classify(&[("y".into(), Value::Tensor(odd))], 1).unwrap_err();
        assert!(matches!(error, ClassifyError::NoClassifier { .. }), "{error}");
    }
}
