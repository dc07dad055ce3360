//! A tree of payload enums held by references is evaluated recursively.
//! run: threads = 64

enum Expr<'a> {
    Number(i32),
    Add(&'a Expr<'a>, &'a Expr<'a>),
    Mul(&'a Expr<'a>, &'a Expr<'a>),
    Neg(&'a Expr<'a>),
}

fn evaluate(expr: &Expr) -> i32 {
    match expr {
        Expr::Number(n) => *n,
        Expr::Add(a, b) => evaluate(a) + evaluate(b),
        Expr::Mul(a, b) => evaluate(a) * evaluate(b),
        Expr::Neg(a) => -evaluate(a),
    }
}

pub fn program(thread: u32) -> i32 {
    let x = Expr::Number(thread as i32);
    let three = Expr::Number(3);
    let sum = Expr::Add(&x, &three);
    let square = Expr::Mul(&sum, &sum);
    let negated = Expr::Neg(&x);
    evaluate(&Expr::Add(&square, &Expr::Mul(&negated, &three)))
}

// expect: 9 13 19 27 37 49 63 79
// hash: 0x5409c748d92ed71a of 64 answers
