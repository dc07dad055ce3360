//! Lengths that may depend on symbols: polynomials with whole coefficients over
//! symbols and a few functions that are no polynomials.
//!
//! An expression is kept in one normal form (terms sorted, no zero among them,
//! equal ones merged), so that equal polynomials compare equal: `2 * (n + 1)` and
//! `n + n + 2` are the same value. Quotients are divided out where that leaves no
//! remainder. Arithmetic saturates; no tensor can be that long.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// A whole number, or an expression of symbols that stands for one.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Expr {
    /// Larger monomials first, without zero coefficients.
    terms: Vec<Term>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Term {
    /// Sorted; one that is there twice is squared.
    factors: Vec<Atom>,
    coefficient: i64,
}

/// What a polynomial is made of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Atom {
    Symbol(Arc<str>),
    /// A length that only a run knows, by its number.
    Unknown(u32),
    Call(Function, Arc<[Expr; 2]>),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Function {
    /// The quotient, rounded down.
    Floor,
    Max,
    Min,
    /// The length that two lengths broadcast to.
    Broadcast,
    /// A product of too many terms to be written out.
    Product,
}

/// Most terms of a product that is written out.
const TERMS_MAX: usize = 64;

impl PartialOrd for Expr {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Expr {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |term: &Term| (term.factors.clone(), term.coefficient);
        self.terms.iter().map(key).cmp(other.terms.iter().map(key))
    }
}

/// An order of monomials that multiplication keeps: more factors first.
fn by_degree(left: &[Atom], right: &[Atom]) -> Ordering {
    (Reverse(left.len()), left).cmp(&(Reverse(right.len()), right))
}

impl Expr {
    /// The length of a name.
    pub fn symbol(name: &str) -> Self {
        Self::atom(Atom::Symbol(name.into()))
    }

    /// A length of which nothing is known; equal to those of its number only.
    pub fn unknown(number: u32) -> Self {
        Self::atom(Atom::Unknown(number))
    }

    fn atom(atom: Atom) -> Self {
        Self { terms: vec![Term { factors: vec![atom], coefficient: 1 }] }
    }

    fn call(function: Function, left: &Self, right: &Self) -> Self {
        Self::atom(Atom::Call(function, Arc::new([left.clone(), right.clone()])))
    }

    /// The number, if it depends on nothing.
    pub fn number(&self) -> Option<i64> {
        match &self.terms[..] {
            [] => Some(0),
            [term] if term.factors.is_empty() => Some(term.coefficient),
            _ => None,
        }
    }

    /// The number, if it depends on nothing and can be a length.
    pub fn as_len(&self) -> Option<usize> {
        self.number().and_then(|number| usize::try_from(number).ok())
    }

    /// Whether it is this number.
    pub fn is(&self, number: i64) -> bool {
        self.number() == Some(number)
    }

    /// Whether a part of it is known to a run only.
    pub fn is_open(&self) -> bool {
        self.terms.iter().flat_map(|term| &term.factors).any(|atom| match atom {
            Atom::Symbol(_) => false,
            Atom::Unknown(_) => true,
            Atom::Call(_, sides) => sides.iter().any(Self::is_open),
        })
    }

    /// Number of symbols, numbers and functions that it is written with.
    pub fn size(&self) -> usize {
        let atom = |atom: &Atom| match atom {
            Atom::Symbol(_) | Atom::Unknown(_) => 1,
            Atom::Call(_, sides) => 1 + sides.iter().map(Self::size).sum::<usize>(),
        };
        self.terms.iter().map(|term| 1 + term.factors.iter().map(atom).sum::<usize>()).sum()
    }

    /// The number for these lengths of symbols; `None` if one is missing, a
    /// divisor is zero, or the result too large.
    pub fn value(&self, symbols: &HashMap<String, usize>) -> Option<i64> {
        self.terms.iter().try_fold(0i64, |sum, term| {
            let product = term.factors.iter().try_fold(term.coefficient, |product, atom| {
                product.checked_mul(atom.value(symbols)?)
            })?;
            sum.checked_add(product)
        })
    }

    /// Lower bound, given that no symbol is negative.
    fn at_least(&self) -> Option<i64> {
        self.terms.iter().try_fold(0i64, |bound, term| {
            if term.factors.is_empty() {
                return Some(bound.saturating_add(term.coefficient));
            }
            let grows = term.coefficient > 0 && term.factors.iter().all(Atom::is_natural);
            grows.then_some(bound)
        })
    }

    /// Whether it is 0 or more for all lengths of symbols.
    pub fn is_natural(&self) -> bool {
        self.at_least().is_some_and(|bound| bound >= 0)
    }

    /// Whether it differs from another for all lengths of symbols.
    pub fn differs(&self, other: &Self) -> bool {
        let is_above = |a: &Self, b: &Self| a.minus(b).at_least().is_some_and(|x| x > 0);
        is_above(self, other) || is_above(other, self)
    }

    /// `self + other`.
    pub fn plus(&self, other: &Self) -> Self {
        let mut terms = Vec::with_capacity(self.terms.len() + other.terms.len());
        let (mut left, mut right) = (self.terms.iter().peekable(), other.terms.iter().peekable());
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            match by_degree(&a.factors, &b.factors) {
                Ordering::Less => terms.extend(left.next().cloned()),
                Ordering::Greater => terms.extend(right.next().cloned()),
                Ordering::Equal => {
                    let coefficient = a.coefficient.saturating_add(b.coefficient);
                    if coefficient != 0 {
                        terms.push(Term { factors: a.factors.clone(), coefficient });
                    }
                    left.next();
                    right.next();
                }
            }
        }
        terms.extend(left.chain(right).cloned());
        Self { terms }
    }

    /// `self - other`.
    pub fn minus(&self, other: &Self) -> Self {
        self.plus(&other.scaled(&Term { factors: Vec::new(), coefficient: -1 }))
    }

    /// `self * other`.
    pub fn times(&self, other: &Self) -> Self {
        if self.terms.len() * other.terms.len() > TERMS_MAX {
            let (left, right) = if self <= other { (self, other) } else { (other, self) };
            return Self::call(Function::Product, left, right);
        }
        other.terms.iter().fold(Self::default(), |sum, term| sum.plus(&self.scaled(term)))
    }

    /// Times one term; the order of terms stays.
    fn scaled(&self, by: &Term) -> Self {
        let times = |term: &Term| {
            let mut factors = [&term.factors[..], &by.factors[..]].concat();
            factors.sort();
            let coefficient = term.coefficient.saturating_mul(by.coefficient);
            (coefficient != 0).then_some(Term { factors, coefficient })
        };
        Self { terms: self.terms.iter().filter_map(times).collect() }
    }

    /// `self / other` rounded down.
    pub fn floor_div(&self, other: &Self) -> Self {
        if let (Some(a), Some(b)) = (self.number(), other.number())
            && b != 0
        {
            return Self::from(a.wrapping_div_euclid(b) - i64::from(b < 0 && a % b != 0));
        }
        let (quotient, rest) = self.divided(other);
        if rest.terms.is_empty() {
            return quotient;
        }
        // floor((q b + r) / b) = q + floor(r / b) holds for whole q.
        if rest.terms.len() <= TERMS_MAX && !other.is(0) {
            let small = match (rest.number(), other.number()) {
                (Some(a), Some(b)) => Self::from(a.div_euclid(b)),
                _ => Self::call(Function::Floor, &rest, other),
            };
            return quotient.plus(&small);
        }
        Self::call(Function::Floor, self, other)
    }

    /// The quotient if there is no remainder.
    pub fn exact_div(&self, other: &Self) -> Option<Self> {
        let (quotient, rest) = self.divided(other);
        rest.terms.is_empty().then_some(quotient)
    }

    /// `self / other` rounded up.
    pub fn ceil_div(&self, other: &Self) -> Self {
        Self::default().minus(&Self::default().minus(self).floor_div(other))
    }

    /// `self - other * floor(self / other)`.
    pub fn modulo(&self, other: &Self) -> Self {
        self.minus(&other.times(&self.floor_div(other)))
    }

    /// Quotient and rest of polynomials: `self = quotient * other + rest`.
    fn divided(&self, other: &Self) -> (Self, Self) {
        if let Some(divisor) = other.number().filter(|&divisor| divisor > 0) {
            let part = |of: fn(i64, i64) -> i64| {
                let term = |term: &Term| {
                    let coefficient = of(term.coefficient, divisor);
                    (coefficient != 0).then(|| Term { factors: term.factors.clone(), coefficient })
                };
                Self { terms: self.terms.iter().filter_map(term).collect() }
            };
            return (part(i64::div_euclid), part(i64::rem_euclid));
        }
        let (mut quotient, mut rest, mut left) = (Self::default(), Self::default(), self.clone());
        let Some(lead) = other.terms.first() else { return (quotient, left) };
        for _ in 0..4 * TERMS_MAX {
            let Some(first) = left.terms.first().cloned() else { break };
            match first.divided(lead) {
                Some(term) => {
                    left = left.minus(&other.scaled(&term));
                    quotient = quotient.plus(&Self { terms: vec![term] });
                }
                None => {
                    left.terms.remove(0);
                    rest.terms.push(first);
                }
            }
        }
        let rest = rest.plus(&left);
        (quotient, rest)
    }

    /// The larger one.
    pub fn larger(&self, other: &Self) -> Self {
        self.extreme(other, Function::Max, i64::max, |above, _| above)
    }

    /// The smaller one.
    pub fn smaller(&self, other: &Self) -> Self {
        self.extreme(other, Function::Min, i64::min, |_, below| below)
    }

    fn extreme<'a>(
        &'a self,
        other: &'a Self,
        function: Function,
        of_numbers: fn(i64, i64) -> i64,
        choose: fn(&'a Self, &'a Self) -> &'a Self,
    ) -> Self {
        if let (Some(a), Some(b)) = (self.number(), other.number()) {
            return Self::from(of_numbers(a, b));
        }
        if self.minus(other).is_natural() {
            return choose(self, other).clone();
        }
        if other.minus(self).is_natural() {
            return choose(other, self).clone();
        }
        let (left, right) = if self <= other { (self, other) } else { (other, self) };
        Self::call(function, left, right)
    }

    /// The length that two lengths broadcast to, if they do.
    pub fn broadcast(&self, other: &Self) -> Option<Self> {
        match (self.number(), other.number()) {
            _ if self == other => Some(self.clone()),
            (Some(1), _) => Some(other.clone()),
            (_, Some(1)) => Some(self.clone()),
            (Some(_), Some(_)) => None,
            // The other one is 1 or the same, or the run fails.
            (Some(_), None) => Some(self.clone()),
            (None, Some(_)) => Some(other.clone()),
            (None, None) => {
                let (left, right) = if self <= other { (self, other) } else { (other, self) };
                Some(Self::call(Function::Broadcast, left, right))
            }
        }
    }
}

impl Term {
    fn divided(&self, by: &Self) -> Option<Self> {
        if by.coefficient == 0 || self.coefficient.checked_rem(by.coefficient)? != 0 {
            return None;
        }
        let mut factors = self.factors.clone();
        for factor in &by.factors {
            factors.remove(factors.iter().position(|own| own == factor)?);
        }
        Some(Self { factors, coefficient: self.coefficient / by.coefficient })
    }
}

impl Atom {
    fn value(&self, symbols: &HashMap<String, usize>) -> Option<i64> {
        let (function, [left, right]) = match self {
            Self::Symbol(name) => return symbols.get(&**name).map(|&len| len as i64),
            Self::Unknown(_) => return None,
            Self::Call(function, sides) => (function, &**sides),
        };
        let (a, b) = (left.value(symbols)?, right.value(symbols)?);
        match function {
            Function::Floor => {
                let quotient = a.checked_div(b)?;
                Some(quotient - i64::from(a % b != 0 && (a < 0) != (b < 0)))
            }
            Function::Max => Some(a.max(b)),
            Function::Min => Some(a.min(b)),
            Function::Broadcast => match (a, b) {
                (1, other) | (other, 1) => Some(other),
                _ => (a == b).then_some(a),
            },
            Function::Product => a.checked_mul(b),
        }
    }

    fn is_natural(&self) -> bool {
        let Self::Call(function, sides) = self else { return true };
        let [left, right] = &**sides;
        match function {
            Function::Max => left.is_natural() || right.is_natural(),
            _ => left.is_natural() && right.is_natural(),
        }
    }
}

impl From<i64> for Expr {
    fn from(number: i64) -> Self {
        let term = Term { factors: Vec::new(), coefficient: number };
        Self { terms: if number == 0 { Vec::new() } else { vec![term] } }
    }
}

impl From<usize> for Expr {
    fn from(len: usize) -> Self {
        Self::from(i64::try_from(len).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.terms.is_empty() {
            return f.write_str("0");
        }
        for (at, term) in self.terms.iter().enumerate() {
            let size = term.coefficient.unsigned_abs();
            f.write_str(match (at, term.coefficient < 0) {
                (0, false) => "",
                (0, true) => "-",
                (_, false) => " + ",
                (_, true) => " - ",
            })?;
            if size != 1 || term.factors.is_empty() {
                write!(f, "{size}")?;
            }
            for (at, factor) in term.factors.iter().enumerate() {
                let sign = if at > 0 || size != 1 { "*" } else { "" };
                write!(f, "{sign}{factor}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol(name) => f.write_str(name),
            Self::Unknown(_) => f.write_str("?"),
            Self::Call(function, sides) => {
                let [left, right] = &**sides;
                match function {
                    Function::Floor => write!(f, "floor(({left})/({right}))"),
                    Function::Max => write!(f, "max({left}, {right})"),
                    Function::Min => write!(f, "min({left}, {right})"),
                    Function::Broadcast => write!(f, "broadcast({left}, {right})"),
                    Function::Product => write!(f, "({left})*({right})"),
                }
            }
        }
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n() -> Expr {
        Expr::symbol("n")
    }

    fn number(number: i64) -> Expr {
        Expr::from(number)
    }

    #[test]
    fn equal_expressions_compare_equal() {
        let m = Expr::symbol("m");
        let left = n().plus(&number(1)).times(&m.plus(&number(-1)));
        let right = n().times(&m).minus(&n()).plus(&m).minus(&number(1));
        assert_eq!(left, right);
        assert_eq!(left.to_string(), "m*n + m - n - 1");
        assert_eq!(n().minus(&n()), number(0));
    }

    #[test]
    fn what_divides_is_divided_out() {
        let past = Expr::symbol("past").plus(&n());
        let all = past.times(&number(8)).times(&number(64));
        assert_eq!(all.floor_div(&past.times(&number(8))), number(64));
        assert_eq!(all.floor_div(&number(512)), past);
        let odd = n().times(&number(4)).plus(&number(7)).floor_div(&number(2));
        assert_eq!(odd, n().times(&number(2)).plus(&number(3)));
        let half = n().floor_div(&number(2));
        assert_eq!(half.to_string(), "floor((n)/(2))");
        assert_eq!(n().plus(&number(2)).floor_div(&number(2)), half.plus(&number(1)));
        let odd = n().plus(&number(1)).floor_div(&number(2));
        assert_eq!(n().plus(&number(3)).floor_div(&number(2)), odd.plus(&number(1)));
        assert_eq!(odd.floor_div(&number(1)), odd);
        assert_eq!(number(-7).floor_div(&number(2)), number(-4));
        assert_eq!(number(-7).ceil_div(&number(2)), number(-3));
        assert_eq!(number(7).floor_div(&number(-2)), number(-4));
        assert_eq!(number(7).modulo(&number(4)), number(3));
    }

    #[test]
    fn values_are_those_of_the_numbers() {
        let symbols = HashMap::from([("n".to_owned(), 7)]);
        let value = |expr: Expr| expr.value(&symbols);
        assert_eq!(value(n().minus(&number(8)).floor_div(&number(2))), Some(-1));
        assert_eq!(value(n().times(&n()).ceil_div(&number(5))), Some(10));
        assert_eq!(value(n().larger(&number(9)).plus(&n().smaller(&number(3)))), Some(12));
        assert_eq!(value(n().floor_div(&number(0))), None);
        assert_eq!(value(Expr::symbol("m")), None);
        let two = n().broadcast(&Expr::symbol("m")).expect("both may be 1");
        assert_eq!(two.value(&HashMap::from([("n".into(), 1), ("m".into(), 5)])), Some(5));
        assert_eq!(two.value(&HashMap::from([("n".into(), 2), ("m".into(), 5)])), None);
    }

    #[test]
    fn signs_of_lengths_are_known() {
        assert!(n().plus(&number(1)).differs(&number(-1)));
        assert!(n().differs(&n().plus(&number(1))));
        assert!(!n().differs(&number(3)));
        assert_eq!(n().plus(&number(1)).larger(&n()), n().plus(&number(1)));
        assert!(number(2).broadcast(&number(3)).is_none());
    }

    #[test]
    fn expressions_stay_small_or_saturate() {
        let mut sum = n();
        for at in 0..100 {
            sum = sum.plus(&Expr::symbol(&format!("n{at}")));
        }
        let square = sum.times(&sum);
        assert_eq!(square.size(), 1 + 1 + 2 * sum.size());
        let huge = number(i64::MAX).times(&number(2));
        assert_eq!(huge.plus(&number(1)), number(i64::MAX));
    }
}
