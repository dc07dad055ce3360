//! The intrinsic table: one row for each device instruction of this crate's
//! thread, warp, block and cluster vocabulary.
//!
//! `intrinsics!` makes two things of a row: under `cfg(raddle_device)` the
//! function whose body is the PTX template, and otherwise an [`Intrinsic`] from
//! which tests (every template is given to `ptxas` for the architecture it
//! claims) and documentation are derived. The grammar of the link names is in
//! `asm.rs`.

/// One row of the intrinsic table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intrinsic {
    /// Name of the device function.
    pub name: &'static str,
    /// Link name: constraints and PTX template.
    pub link: &'static str,
    /// Lowest architecture, as in `sm_NN`.
    pub architecture: u32,
    /// Lowest PTX version, times ten: 70 for 7.0.
    pub ptx: u32,
    /// Title of the section of the PTX ISA manual.
    pub section: &'static str,
}

/// Declares rows of the intrinsic table, under one section of the manual.
///
/// `fn name(args) -> result = link, sm NN, ptx NN;` where `link` is a literal or
/// a `concat!` of literals.
macro_rules! intrinsics {
    (
        $table:ident, $section:literal;
        $(fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $link:expr, sm $sm:literal, ptx $ptx:literal;)*
    ) => {
        #[cfg(not(raddle_device))]
        #[doc = concat!("Rows of the section \"", $section, "\".")]
        pub const $table: &[$crate::table::Intrinsic] = &[
            $($crate::table::Intrinsic {
                name: stringify!($name),
                link: $link,
                architecture: $sm,
                ptx: $ptx,
                section: $section,
            },)*
        ];
        $(
            #[cfg(raddle_device)]
            #[inline(always)]
            #[allow(clippy::missing_safety_doc, dead_code)]
            pub(super) unsafe fn $name($($arg: $ty),*) $(-> $ret)? {
                #[allow(improper_ctypes)]
                unsafe extern "C" {
                    #[link_name = $link]
                    fn raddle_asm($($arg: $ty),*) $(-> $ret)?;
                }
                // SAFETY: the caller upholds the instruction's contract.
                unsafe { raddle_asm($($arg),*) }
            }
        )*
    };
}

/// Every table of this vocabulary, in reading order.
#[cfg(not(raddle_device))]
pub const TABLES: &[&[Intrinsic]] = &[
    crate::barrier::BARRIERS,
    crate::shared::SHARED,
    crate::warp::WARPS,
    crate::mbarrier::MBARRIERS,
    crate::atomic::operations::OPERATIONS,
    crate::atomic::VECTOR_REDUCTIONS,
    crate::cluster::CLUSTERS,
    crate::fence::FENCES,
    crate::dependent::DEPENDENTS,
    crate::timer::TIMERS,
    crate::float::F16_ROWS,
    crate::float::BF16_ROWS,
    crate::float::TF32_ROWS,
    crate::float::E4M3_ROWS,
    crate::float::E5M2_ROWS,
    crate::float::F16X2_ROWS,
    crate::float::BF16X2_ROWS,
    crate::cache::nc::ROWS,
    crate::cache::nc_no_allocate::ROWS,
    crate::cache::cg::ROWS,
    crate::cache::cs::ROWS,
    crate::cache::cv::ROWS,
    crate::cache::evict_first::ROWS,
    crate::cache::evict_last::ROWS,
    crate::cache::store_cg_rows::ROWS,
    crate::cache::store_cs_rows::ROWS,
    crate::cache::store_wt_rows::ROWS,
    crate::cache::PREFETCHES,
    crate::cache::POLICIES,
    crate::async_copy::COPIES,
    crate::approx::APPROXIMATIONS,
    crate::approx::PAIRS,
    crate::tma::TENSOR_LOADS,
    crate::tma::IM2COL_LOADS,
    crate::tma::TENSOR_STORES,
    crate::tma::BULK_COPIES,
    crate::matrix::LDMATRIX,
    crate::matrix::SETMAXNREG,
    crate::matrix::MMA,
    crate::matrix::WGMMA,
    crate::matrix::wgmma::f16_kk::ROWS,
    crate::matrix::wgmma::f16_km::ROWS,
    crate::matrix::wgmma::f16_mk::ROWS,
    crate::matrix::wgmma::f16_mm::ROWS,
    crate::matrix::wgmma::f16_rk::ROWS,
    crate::matrix::wgmma::f16_rm::ROWS,
    crate::matrix::wgmma::bf16_kk::ROWS,
    crate::matrix::wgmma::bf16_km::ROWS,
    crate::matrix::wgmma::bf16_mk::ROWS,
    crate::matrix::wgmma::bf16_mm::ROWS,
    crate::matrix::wgmma::bf16_rk::ROWS,
    crate::matrix::wgmma::bf16_rm::ROWS,
    crate::matrix::wgmma::tf32_kk::ROWS,
    crate::matrix::wgmma::tf32_rk::ROWS,
    crate::matrix::wgmma::e4m3_e4m3_kk::ROWS,
    crate::matrix::wgmma::e4m3_e4m3_rk::ROWS,
    crate::matrix::wgmma::e4m3_e5m2_kk::ROWS,
    crate::matrix::wgmma::e4m3_e5m2_rk::ROWS,
    crate::matrix::wgmma::e5m2_e4m3_kk::ROWS,
    crate::matrix::wgmma::e5m2_e4m3_rk::ROWS,
    crate::matrix::wgmma::e5m2_e5m2_kk::ROWS,
    crate::matrix::wgmma::e5m2_e5m2_rk::ROWS,
    crate::matrix::wgmma::pins::ROWS,
];

/// How many rows `tables` have together.
#[cfg(not(raddle_device))]
pub(crate) const fn count(tables: &[&[Intrinsic]]) -> usize {
    let mut total = 0;
    let mut table = 0;
    while table < tables.len() {
        total += tables[table].len();
        table += 1;
    }
    total
}

/// The rows of `tables` in one array; `N` comes from [`count`].
#[cfg(not(raddle_device))]
pub(crate) const fn joined<const N: usize>(tables: &[&[Intrinsic]]) -> [Intrinsic; N] {
    let mut rows = [tables[0][0]; N];
    let (mut total, mut table) = (0, 0);
    while table < tables.len() {
        let mut row = 0;
        while row < tables[table].len() {
            rows[total] = tables[table][row];
            total += 1;
            row += 1;
        }
        table += 1;
    }
    rows
}
