//! Days since 1970 to dates and back.
//! run: threads = 64

fn date(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u32, day as u32)
}

fn days(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month = i64::from((month + 9) % 12);
    let day_of_year = (153 * month + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

pub fn program(thread: u32) -> (i64, u32, u32, bool) {
    let n = i64::from(thread) * 1234 - 20_000;
    let (year, month, day) = date(n);
    (year, month, day, days(year, month, day) == n)
}

// expect: 1915,3,31,1 1918,8,16,1 1922,1,1,1 1925,5,19,1 1928,10,4,1 1932,2,20,1 1935,7,8,1
// expect: 1938,11,23,1
// hash: 0xa13b13f4012ccb25 of 64 answers
