//! Tables of mixed columns and folders of pictures: what goes in comes out again.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the numbers here are small"
)]
#![allow(clippy::format_collect, clippy::format_push_string, reason = "short texts")]
#![allow(clippy::float_cmp, reason = "exactly those bits are due")]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use windfield::Error;
use windfield::data::{
    ArrayWriter, ColumnKind, Constant, Dataset, ImageShape, Missing, Preparation, RowForm, TakenColumn,
    read_array,
};

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, parts: &[&str]) {
    let message = match result {
        Ok(value) => panic!("accepted: {value:?}"),
        Err(error) => error.to_string(),
    };
    assert!(!message.contains(['\n', '\r']), "more than one line: {message:?}");
    assert!(message.len() < 500, "too long to read: {message:?}");
    for part in parts {
        assert!(message.contains(part), "no {part:?} in {message:?}");
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).expect("a file");
        self.name(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

/// Writes the rows of a data set as samples of a model of it would be.
fn write(path: &Path, data: &Dataset) -> Result<(), Error> {
    let preparation = data.preparation();
    let form = RowForm { columns: data.columns(), preparation: preparation.as_ref(), image: data.image() };
    let mut file = ArrayWriter::create_rows(path, data.rows(), &form)?;
    file.write_rows(data.values())?;
    file.finish()
}

fn kinds(data: &Dataset) -> Vec<ColumnKind> {
    let preparation = data.preparation().expect("a preparation");
    preparation.columns().expect("of a table").iter().map(|column| column.kind.clone()).collect()
}

const PENGUINS: &str = "species,mass,year,island,note\n\
    Gentoo,5000.5,2007,Biscoe,a\n\
    \"Adelie, small\",3750,2008,Dream,a\n\
    Gentoo,4100.25,2009,\"#1\",a\n";

#[test]
fn columns_are_numbers_whole_numbers_words_and_constants() {
    let folder = Folder::new();
    let data = Dataset::open(&folder.write("p.csv", PENGUINS)).expect("a table");
    let text = |words: &[&str]| ColumnKind::Category {
        values: words.iter().map(ToString::to_string).collect(),
        boolean: false,
        fill: None,
    };
    assert_eq!(
        kinds(&data),
        [
            text(&["Adelie, small", "Gentoo"]),
            ColumnKind::Number { fill: None },
            ColumnKind::Integer { fill: None },
            text(&["#1", "Biscoe", "Dream"]),
            ColumnKind::Constant { value: Constant::Text("a".to_owned()) },
        ]
    );
    let names = [
        "species=Adelie, small",
        "species=Gentoo",
        "mass",
        "year",
        "island=#1",
        "island=Biscoe",
        "island=Dream",
    ];
    assert_eq!(data.columns(), names);
    assert_eq!(data.row(0), [0.0, 1.0, 5000.5, 2007.0, 0.0, 1.0, 0.0]);
    assert_eq!(data.row(1), [1.0, 0.0, 3750.0, 2008.0, 0.0, 0.0, 1.0]);
    assert_eq!(data.row(2), [0.0, 1.0, 4100.25, 2009.0, 1.0, 0.0, 0.0]);
    let json = serde_json::to_string(&data.preparation()).expect("JSON");
    assert_eq!(serde_json::from_str::<Option<Preparation>>(&json).expect("the same"), data.preparation());
}

#[test]
fn a_table_of_numbers_needs_no_preparation() {
    let folder = Folder::new();
    let data = Dataset::open(&folder.write("n.csv", "a,b\n1.5,2.0\n2,-3e4\n")).expect("a table");
    assert_eq!(data.preparation(), None);
    assert_eq!(data.values(), [1.5, 2.0, 2.0, -3e4]);
}

#[test]
fn the_same_columns_come_out() {
    let folder = Folder::new();
    let data = Dataset::open(&folder.write("p.csv", PENGUINS)).expect("a table");
    for name in ["out.csv", "out.tsv", "out.parquet"] {
        write(&folder.path(name), &data).expect("written");
        let back = Dataset::open(&folder.name(name)).expect("read back");
        assert_eq!(back.values(), data.values(), "{name}");
        assert_eq!(kinds(&back), kinds(&data), "{name}");
        let known = data.preparation();
        let known = Dataset::open_as(&folder.name(name), known.as_ref()).expect("as it was");
        assert_eq!((known.values(), known.preparation()), (data.values(), data.preparation()));
    }
    let text = fs::read_to_string(folder.path("out.csv")).expect("text");
    let lines = "species,mass,year,island,note\nGentoo,5000.5,2007,Biscoe,a\n\"Adelie, small\",3750.0,2008,Dream,a\n\
        Gentoo,4100.25,2009,#1,a\n";
    assert_eq!(text.replace("\"#1\"", "#1"), lines);
    write(&folder.path("out.npy"), &data).expect("written");
    assert_eq!(read_array(folder.path("out.npy")).expect("numbers").values, data.values());
    let preparation = data.preparation();
    let npy = Dataset::open_as(&folder.name("out.npy"), preparation.as_ref()).expect("numbers of its own");
    assert_eq!((npy.values(), npy.preparation()), (data.values(), preparation));
}

#[test]
fn samples_are_rounded_to_what_there_is() {
    let folder = Folder::new();
    let data = Dataset::open(&folder.write("p.csv", PENGUINS)).expect("a table");
    let preparation = data.preparation();
    let form = RowForm { columns: data.columns(), preparation: preparation.as_ref(), image: None };
    let mut file = ArrayWriter::create_rows(folder.path("s.csv"), 1, &form).expect("a file");
    file.write_rows(&[0.3, -0.2, 4000.125, 2007.51, 0.1, 0.1, -3.0]).expect("a row");
    file.finish().expect("whole");
    let text = fs::read_to_string(folder.path("s.csv")).expect("text");
    assert_eq!(text.lines().nth(1).expect("a row").replace('"', ""), "Adelie, small,4000.125,2008,#1,a");
    let mut file = ArrayWriter::create_rows(folder.path("bad.csv"), 1, &form).expect("a file");
    refused(file.write_rows(&[f32::NAN; 7]), &["bad.csv", "row 0 is not finite"]);
    drop(file);
    assert!(!folder.path("bad.csv").exists());
}

#[test]
fn columns_are_found_by_name() {
    let folder = Folder::new();
    let data = Dataset::open(&folder.write("p.csv", PENGUINS)).expect("a table");
    let preparation = data.preparation();
    let open = |name, text: &str| Dataset::open_as(&folder.write(name, text), preparation.as_ref());
    let other = "id,note,island,mass,year,species\nx77,a,Dream,1,2020,Gentoo\n";
    assert_eq!(open("o.csv", other).expect("other order").row(0), [0.0, 1.0, 1.0, 2020.0, 0.0, 0.0, 1.0]);
    refused(
        open("a.csv", "species,mass,note\nGentoo,1,a\n"),
        &["a.csv", "no column 'year', 'island'", "the columns that the model was trained on"],
    );
    refused(
        open("b.csv", "species,mass,year,island,note\n\nGentoo,1,2,Dream,a\nKing,1,2,Dream,a\n"),
        &["b.csv, line 4, column 'species'", "'King'", "they have Adelie, small, Gentoo"],
    );
    refused(
        open("c.csv", "species,mass,year,island,note\nGentoo,heavy,2,Dream,a\n"),
        &["c.csv, column 'mass'", "it holds words, and numbers in the model's data"],
    );
    refused(
        open("d.csv", "species,mass,year,island,note\nGentoo,1,2,Dream,b\n"),
        &["d.csv, line 2, column 'note'", "no 'b' there", "they have a"],
    );
    refused(
        open("e.csv", "species,mass,year,island,note\nGentoo,,2,Dream,a\n"),
        &["e.csv, line 2, column 'mass'", "missing", "--missing mean"],
    );
}

#[test]
fn constant_numbers_are_restored_and_demanded() {
    let folder = Folder::new();
    let data = Dataset::open(&folder.write("p.csv", "a,b,c\n1,7,0.5\n2,7,0.5\n")).expect("a table");
    assert_eq!((data.dim(), data.values()), (1, &[1.0, 2.0][..]));
    write(&folder.path("out.csv"), &data).expect("written");
    assert_eq!(fs::read_to_string(folder.path("out.csv")).expect("text"), "a,b,c\n1,7,0.5\n2,7,0.5\n");
    let preparation = data.preparation();
    refused(
        Dataset::open_as(&folder.write("q.csv", "a,b,c\n1,7,0.5\n2,8,0.5\n"), preparation.as_ref()),
        &["q.csv, column 'b'", "it is 8 in row 1", "and 7 in all of the model's data"],
    );
    let point = Dataset::open(&folder.write("one.csv", "a,b\n1,2\n")).expect("a point");
    assert_eq!((point.values(), point.preparation()), (&[1.0, 2.0][..], None));
    refused(Dataset::open(&folder.write("k.csv", "a,b\n1,x\n1,x\n")), &["k.csv", "one and the same value"]);
}

#[test]
fn constants_keep_digits_that_float32_lacks() {
    let folder = Folder::new();
    let text = "a,day,key,share,many\n\
        1,20231105,18446744073709551615,0.1,1234.567890123\n\
        2,20231105,18446744073709551615,0.1,1234.567890123\n";
    let data = Dataset::open(&folder.write("p.csv", text)).expect("a table");
    assert_eq!(data.dim(), 1);
    write(&folder.path("out.csv"), &data).expect("written");
    assert_eq!(fs::read_to_string(folder.path("out.csv")).expect("text"), text);
    let known = data.preparation();
    let json = serde_json::to_string(&known).expect("JSON");
    assert_eq!(serde_json::from_str::<Option<Preparation>>(&json).expect("the same"), known);
    assert_eq!(
        Dataset::open_as(&folder.name("out.csv"), known.as_ref()).expect("the same").values(),
        [1.0, 2.0]
    );
    // Through Parquet, whose columns of this table are int64, uint64 and float32.
    write(&folder.path("out.parquet"), &data).expect("written");
    let back = Dataset::open(&folder.name("out.parquet")).expect("read back");
    let value = |value| ColumnKind::Constant { value };
    assert_eq!(
        kinds(&back)[1..],
        [
            value(Constant::Integer(20_231_105)),
            value(Constant::Unsigned(u64::MAX)),
            value(Constant::Number(0.1)),
            value(Constant::Number(1234.5679)),
        ]
    );
    assert_eq!(
        Dataset::open_as(&folder.name("out.parquet"), known.as_ref()).expect("as near").values(),
        [1.0, 2.0]
    );
    // One that differs where float32 does not.
    let other = folder.write("q.csv", &text.replace("2,20231105", "2,20231104"));
    refused(
        Dataset::open_as(&other, known.as_ref()),
        &["column 'day'", "it is 20231104, and 20231105 in all"],
    );
    refused(
        Dataset::open(&other),
        &["column 'day'", "20231105 and 20231104, are one and the same in float32", "--columns"],
    );
}

#[test]
fn rounding_errors_make_no_second_number() {
    let folder = Folder::new();
    let file = folder.write("p.csv", "a,b\n1,0.3\n2,0.30000000000000004\n3,0.3\n");
    let data = Dataset::open(&file).expect("a table");
    assert_eq!(kinds(&data)[1], ColumnKind::Constant { value: Constant::Number(0.3) });
    let again = Dataset::open_as(&file, data.preparation().as_ref()).expect("the same");
    assert_eq!(again.values(), [1.0, 2.0, 3.0]);
}

#[test]
fn whole_numbers_that_float32_lacks_are_named() {
    let folder = Folder::new();
    let data =
        Dataset::open(&folder.write("p.csv", "a,time,b,c\nx,1700000000,1.5,16777215\ny,1700000500,2.5,7\n"));
    assert_eq!(data.expect("a table").coarse_columns(), [("time", 128.0)]);
    let data = Dataset::open(&folder.write("q.csv", "a,b,id\n1,2,100000001\n3,4,100000002\n5,7,100000011\n"));
    let label = ["id".parse().expect("a label")];
    refused(
        data.expect("a table").with_labels(&label, 0.1),
        &["id", "float32 does not tell classes as large as 100000000 apart", "id:number"],
    );
}

#[test]
fn a_column_can_be_taken_out() {
    let folder = Folder::new();
    let data = Dataset::open(&folder.write("p.csv", PENGUINS)).expect("a table");
    let (island, rest) = data.clone().take_column("island").expect("words");
    assert_eq!(island, TakenColumn::Words(["Biscoe", "Dream", "#1"].map(str::to_owned).to_vec()));
    assert_eq!(rest.columns(), ["species=Adelie, small", "species=Gentoo", "mass", "year"]);
    write(&folder.path("rest.csv"), &rest).expect("written");
    let text = fs::read_to_string(folder.path("rest.csv")).expect("text");
    assert!(text.starts_with("species,mass,year,note\nGentoo,5000.5,2007,a\n"), "{text}");
    let (year, rest) = rest.take_column("year").expect("numbers");
    assert_eq!(year, TakenColumn::Numbers(vec![2007.0, 2008.0, 2009.0]));
    let (note, rest) = rest.take_column("note").expect("a constant");
    assert_eq!(note, TakenColumn::Words(vec!["a".to_owned(); 3]));
    let (_, rest) = rest.take_column("mass").expect("numbers");
    refused(rest.clone().take_column("species"), &["nothing is left without the column 'species'"]);
    refused(rest.take_column("mass"), &["it has no column 'mass'"]);
    let plain = Dataset::open(&folder.write("n.csv", "a,b\n1.5,2.0\n2,-3e4\n")).expect("a table");
    let (a, rest) = plain.take_column("a").expect("numbers");
    assert_eq!((a, rest.values()), (TakenColumn::Numbers(vec![1.5, 2.0]), &[2.0, -3e4][..]));
}

#[test]
fn missing_values_are_refused_filled_in_or_dropped() {
    let folder = Folder::new();
    let file = folder.write("m.csv", "a,b,c\n1,x,0.5\n2,y,0.5\nNA,y,1.5\n6,,2.5\n");
    refused(
        Dataset::open(&file),
        &[
            "m.csv, line 4, column 'a'",
            "a value is missing",
            "fill it in, remove the line",
            "--missing mean or drop",
        ],
    );
    let mean = Dataset::open_with(&file, Missing::Mean).expect("filled in");
    assert_eq!(mean.rows(), 4);
    assert_eq!(mean.row(2), [3.0, 0.0, 1.0, 1.5]);
    assert_eq!(mean.row(3), [6.0, 0.0, 1.0, 2.5]);
    let drop = Dataset::open_with(&file, Missing::Drop).expect("dropped");
    assert_eq!(drop.rows(), 2);
    // What is constant is found out after that.
    assert_eq!(drop.columns(), ["a", "b=x", "b=y"]);
    // Other data: with what was learned of the first ones.
    let other = folder.write("n.csv", "c,b,a\n,y,\n");
    let preparation = mean.preparation();
    let filled = Dataset::open_rows_as(&other, preparation.as_ref()).expect("filled in");
    assert_eq!(filled.values(), [3.0, 0.0, 1.0, 1.25]);
    let gap = folder.write("g.csv", "c,b,a\n0.5,y,1\n0.5,y,\n");
    let preparation = drop.preparation();
    assert_eq!(Dataset::open_as(&gap, preparation.as_ref()).expect("dropped").rows(), 1);
    refused(
        Dataset::open_rows_as(&gap, preparation.as_ref()),
        &["g.csv, line 3, column 'a'", "no row is left out here"],
    );
    refused(
        Dataset::open_with(&folder.write("e.csv", "a,b\n1,\n,2\n"), Missing::Drop),
        &["e.csv", "every row misses a value"],
    );
    refused(
        Dataset::open_with(&folder.write("f.csv", "a,b\n1,\n3,\n"), Missing::Mean),
        &["f.csv, column 'b'", "all of its values are missing"],
    );
    // Numbers alone remember the way as well.
    let numbers = folder.write("h.csv", "a,b\n1.5,2.5\n,0.5\n2.5,1.5\n");
    let data = Dataset::open_with(&numbers, Missing::Mean).expect("filled in");
    assert_eq!(data.values(), [1.5, 2.5, 2.0, 0.5, 2.5, 1.5]);
    assert_eq!(Dataset::open_as(&numbers, data.preparation().as_ref()).expect("again"), data);
}

#[test]
fn what_is_neither_a_number_nor_a_category_is_refused() {
    let folder = Folder::new();
    let many: String = (0..70).map(|i| format!("{i}.5,name{i}\n")).collect();
    refused(
        Dataset::open(&folder.write("a.csv", &format!("x,name\n{many}"))),
        &["a.csv, column 'name'", "70 different words are more than 64 categories"],
    );
    refused(
        Dataset::open(&folder.write("b.csv", "x,y\n1,2\n3,oops\n")),
        &["b.csv, line 3, column 'y'", "'oops' is not a number"],
    );
    refused(Dataset::open(&folder.write("c.csv", "x;y\n1,5;2\n")), &["c.csv, line 2", "decimal comma"]);
    refused(Dataset::open(&folder.write("d.csv", "x,y\n1,inf\n")), &["d.csv, line 2", "not finite"]);
    refused(Dataset::open(&folder.write("e.csv", "x,y\na,1\nb\n")), &["e.csv, line 3", "1 field"]);
}

#[test]
fn a_preparation_of_another_form_is_refused() {
    let folder = Folder::new();
    let data = Dataset::open(&folder.write("p.csv", PENGUINS)).expect("a table");
    let preparation = data.preparation();
    let columns = vec!["x".to_owned()];
    let form = RowForm { columns: &columns, preparation: preparation.as_ref(), image: None };
    refused(
        ArrayWriter::create_rows(folder.path("x.csv"), 1, &form).map(|_| ()),
        &["7 numbers a row", "have 1"],
    );
    refused(ArrayWriter::create_rows(folder.path("new/"), 1, &form).map(|_| ()), &["rows are no images"]);
}

#[test]
fn pictures_come_out_as_they_came_in() {
    let folder = Folder::new();
    for channels in [1, 3, 4] {
        let shape = ImageShape { height: 3, width: 5, channels };
        let dim = 15 * channels;
        let values: Vec<f32> = (0..12 * dim).map(|i| (i * 37 % 256) as f32).collect();
        let columns: Vec<String> = (0..dim).map(|i| format!("p{i}")).collect();
        let images: Preparation =
            serde_json::from_str(r#"{"of":"images","version":1,"low":0,"high":255}"#).expect("images");
        let form = RowForm { columns: &columns, preparation: Some(&images), image: Some(shape) };
        let path = folder.path(&format!("images-{channels}/"));
        let mut file = ArrayWriter::create_rows(&path, 12, &form).expect("a folder");
        file.write_rows(&values).expect("pictures");
        assert!(!path.exists(), "it is not there before it is whole");
        file.finish().expect("whole");
        assert!(path.join("0011.png").is_file());
        let data = Dataset::open(&path.display().to_string()).expect("pictures");
        assert_eq!((data.values(), data.image()), (&values[..], Some(shape)));
        assert_eq!(data.preparation(), Some(images.clone()));
        refused(
            ArrayWriter::create_rows(&path, 12, &form).map(|_| ()),
            &["there already, and no empty folder", "give a new folder"],
        );
    }
    assert_eq!(fs::read_dir(folder.0.path()).expect("entries").count(), 3, "nothing else is left");
}

#[test]
fn pictures_of_other_sizes_forms_and_none_are_refused() {
    let folder = Folder::new();
    let open = || Dataset::open(&folder.name(""));
    refused(open(), &["no .png in the folder"]);
    image::GrayImage::new(4, 3).save(folder.path("a.png")).expect("a picture");
    image::GrayImage::new(4, 3).save(folder.path("b.png")).expect("a picture");
    fs::write(folder.path("readme.txt"), "no picture").expect("a file");
    assert_eq!(open().expect("two").rows(), 2);
    image::GrayImage::new(5, 3).save(folder.path("c.png")).expect("a picture");
    refused(open(), &["c.png: it is 5 × 3 pixels in grey", "a.png is 4 × 3 pixels in grey"]);
    image::RgbImage::new(4, 3).save(folder.path("c.png")).expect("a picture");
    refused(open(), &["c.png: it is 4 × 3 pixels in RGB", "a.png is 4 × 3 pixels in grey"]);
    image::ImageBuffer::<image::Luma<u16>, _>::new(4, 3).save(folder.path("c.png")).expect("a picture");
    refused(open(), &["c.png", "L16", "8 bits a channel"]);
    fs::write(folder.path("c.png"), b"\x89PNG\r\n\x1a\nnonsense").expect("a file");
    refused(open(), &["c.png", "no whole PNG"]);
}

#[cfg(feature = "parquet")]
mod parquet_files {
    use std::sync::Arc;

    use parquet::column::writer::ColumnWriter;
    use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use parquet::schema::types::ColumnDescPtr;

    use super::*;

    /// A table of optional columns: text, truth values, whole numbers and numbers; without those of `gap`.
    fn table(path: &Path, gap: Option<usize>) {
        let schema = "message schema { optional binary s (STRING); optional boolean b; optional int32 i; \
            optional double d; required binary c (STRING); }";
        let schema = Arc::new(parse_message_type(schema).expect("a schema"));
        let file = fs::File::create(path).expect("a file");
        let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).expect("a writer");
        for (begin, rows) in [(0_usize, 3_usize), (3, 2)] {
            let mut group = writer.next_row_group().expect("a group");
            let present: Vec<usize> = (begin..begin + rows).filter(|row| Some(*row) != gap).collect();
            let levels: Vec<i16> = (begin..begin + rows).map(|row| i16::from(Some(row) != gap)).collect();
            let mut column = group.next_column().expect("a column").expect("s");
            let words: Vec<ByteArray> =
                present.iter().map(|i| ["1", "x", "1", "2", "x"][*i].into()).collect();
            column.typed::<ByteArrayType>().write_batch(&words, Some(&levels), None).expect("words");
            column.close().expect("closed");
            let mut column = group.next_column().expect("a column").expect("b");
            let truth: Vec<bool> = present.iter().map(|i| i % 2 == 0).collect();
            column.typed::<BoolType>().write_batch(&truth, Some(&levels), None).expect("truth values");
            column.close().expect("closed");
            let mut column = group.next_column().expect("a column").expect("i");
            let whole: Vec<i32> = present.iter().map(|i| *i as i32 * 10).collect();
            column.typed::<Int32Type>().write_batch(&whole, Some(&levels), None).expect("whole numbers");
            column.close().expect("closed");
            let mut column = group.next_column().expect("a column").expect("d");
            let numbers: Vec<f64> = present.iter().map(|i| *i as f64 + 0.5).collect();
            column.typed::<DoubleType>().write_batch(&numbers, Some(&levels), None).expect("numbers");
            column.close().expect("closed");
            let mut column = group.next_column().expect("a column").expect("c");
            let words: Vec<ByteArray> = (0..rows).map(|_| "7".into()).collect();
            column.typed::<ByteArrayType>().write_batch(&words, None, None).expect("words");
            column.close().expect("closed");
            group.close().expect("a group");
        }
        writer.close().expect("a table");
    }

    #[test]
    fn columns_keep_their_types() {
        let folder = Folder::new();
        table(&folder.path("t.parquet"), None);
        let data = Dataset::open(&folder.name("t.parquet")).expect("a table");
        assert_eq!(data.columns(), ["s=1", "s=2", "s=x", "b=false", "b=true", "i", "d"]);
        assert_eq!(data.row(0), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.5]);
        assert_eq!(data.row(3), [0.0, 1.0, 0.0, 1.0, 0.0, 30.0, 3.5]);
        let preparation = data.preparation();
        write(&folder.path("back.parquet"), &data).expect("written");
        let back = Dataset::open(&folder.name("back.parquet")).expect("read back");
        assert_eq!((back.values(), back.preparation()), (data.values(), preparation.clone()));
        // Words that look like numbers are words where the model's data have words.
        write(&folder.path("back.csv"), &data).expect("written");
        let text = fs::read_to_string(folder.path("back.csv")).expect("text");
        assert!(text.starts_with("s,b,i,d,c\n1,true,0,0.5,7\nx,false,10,1.5,7\n"), "{text}");
        let known: Preparation = serde_json::from_str(
            &serde_json::to_string(&preparation)
                .expect("JSON")
                .replace("\"boolean\":true", "\"boolean\":false"),
        )
        .expect("a preparation");
        let back = Dataset::open_as(&folder.name("back.csv"), Some(&known)).expect("read back");
        assert_eq!(back.values(), data.values());
    }

    /// What the schema of a file says of each column.
    fn schema(path: &Path) -> Vec<String> {
        let file = SerializedFileReader::new(fs::File::open(path).expect("a file")).expect("a table");
        let schema = file.metadata().file_metadata().schema_descr_ptr();
        let say = |column: &ColumnDescPtr| {
            let (physical, logical) = (column.physical_type(), column.logical_type_ref());
            format!("{} {physical} {logical:?} {}", column.path(), column.max_def_level())
        };
        schema.columns().iter().map(say).collect()
    }

    /// Rows of a table are `i8 i16 i32 i64 u8 u16 u32 u64 f d`, of which every other may be null.
    const NUMBERS: &str = "message schema { optional int32 i8 (INTEGER(8,true)); required int32 i16 \
        (INTEGER(16,true)); optional int32 i32; required int64 i64; optional int32 u8 (INTEGER(8,false)); required \
        int32 u16 (INTEGER(16,false)); optional int32 u32 (INTEGER(32,false)); required int64 u64 \
        (INTEGER(64,false)); optional float f; required double d; }";

    fn numbers(path: &Path, schema: &str) {
        let schema = Arc::new(parse_message_type(schema).expect("a schema"));
        let file = fs::File::create(path).expect("a file");
        let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).expect("a writer");
        let mut group = writer.next_row_group().expect("a group");
        let levels = Some(&[1, 1][..]);
        while let Some(mut column) = group.next_column().expect("a column") {
            match column.untyped() {
                ColumnWriter::Int32ColumnWriter(it) => it.write_batch(&[1, 2], levels, None).map(|_| ()),
                ColumnWriter::Int64ColumnWriter(it) => it.write_batch(&[1, 2], levels, None).map(|_| ()),
                ColumnWriter::FloatColumnWriter(it) => it.write_batch(&[0.5, 2.0], levels, None).map(|_| ()),
                ColumnWriter::DoubleColumnWriter(it) => it.write_batch(&[0.5, 2.0], levels, None).map(|_| ()),
                _ => panic!("another type"),
            }
            .expect("values");
            column.close().expect("closed");
        }
        group.close().expect("a group");
        writer.close().expect("a table");
    }

    /// Whole numbers end where their types do, and no column changes its type.
    #[test]
    fn types_come_out_as_they_came_in() {
        let folder = Folder::new();
        let (file, back) = (folder.path("n.parquet"), folder.path("back.parquet"));
        numbers(&file, NUMBERS);
        let data = Dataset::open(&folder.name("n.parquet")).expect("a table");
        // A model keeps it in its file.
        let kept = serde_json::to_string(&data.preparation()).expect("JSON");
        assert!(kept.contains("\"version\":2"), "{kept}");
        let kept: Preparation = serde_json::from_str(&kept).expect("a preparation");
        assert_eq!(Some(&kept), data.preparation().as_ref());
        let form = RowForm { columns: data.columns(), preparation: Some(&kept), image: None };
        let mut writer = ArrayWriter::create_rows(&back, 2, &form).expect("a table");
        writer.write_rows(&[-1e30; 10]).expect("small");
        writer.write_rows(&[1e30; 10]).expect("large");
        writer.finish().expect("written");
        assert_eq!(schema(&back), schema(&file));
        let reader = SerializedFileReader::new(fs::File::open(&back).expect("a file")).expect("a table");
        let rows: Vec<String> =
            reader.get_row_iter(None).expect("rows").map(|row| row.expect("a row").to_string()).collect();
        assert!(
            rows[0].starts_with(
                "{i8: -128, i16: -32768, i32: -2147483648, i64: -9223372036854775808, u8: 0, u16: 0, u32: 0, u64: 0,"
            ),
            "{}",
            rows[0]
        );
        assert!(
            rows[1].starts_with(
                "{i8: 127, i16: 32767, i32: 2147483647, i64: 9223372036854775807, u8: 255, u16: 65535, u32: \
                 4294967295, u64: 18446744073709551615,"
            ),
            "{}",
            rows[1]
        );
        // Text is no type of a number's.
        table(&folder.path("t.parquet"), None);
        let mixed = Dataset::open(&folder.name("t.parquet")).expect("a table");
        write(&folder.path("t-back.parquet"), &mixed).expect("written");
        assert_eq!(schema(&folder.path("t-back.parquet")), schema(&folder.path("t.parquet")));
        // What an older model file says, without any of it.
        let old = r#"{"of":"table","version":1,"missing":"refuse","columns":[{"name":"n","kind":"integer"},
            {"name":"x","kind":"number"}]}"#;
        let old: Preparation = serde_json::from_str(old).expect("an older preparation");
        let columns = ["n".to_owned(), "x".to_owned()];
        let form = RowForm { columns: &columns, preparation: Some(&old), image: None };
        let mut writer = ArrayWriter::create_rows(&back, 1, &form).expect("a table");
        writer.write_rows(&[1.0, 2.0]).expect("a row");
        writer.finish().expect("written");
        assert_eq!(schema(&back), ["\"n\" INT64 None 0", "\"x\" FLOAT None 0"]);
    }

    #[test]
    fn nulls_are_missing() {
        let folder = Folder::new();
        table(&folder.path("t.parquet"), Some(3));
        let file = folder.name("t.parquet");
        refused(
            Dataset::open(&file),
            &["t.parquet, row 3, column 's'", "a value is missing", "remove the row"],
        );
        let data = Dataset::open_with(&file, Missing::Mean).expect("filled in");
        assert_eq!(data.columns(), ["s=1", "s=x", "b=false", "b=true", "i", "d"]);
        assert_eq!(data.row(3), [1.0, 0.0, 0.0, 1.0, 17.5, 2.25]);
        assert_eq!(Dataset::open_with(&file, Missing::Drop).expect("dropped").rows(), 4);
        refused(read_array(&file), &["column 's'", "holds text, not numbers"]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_table_comes_back(
        rows in prop::collection::vec(
            ("[a-z][ a-z,;\"#|]{0,6}[a-z]", -1e30_f32..1e30, -1_000_000_i32..1_000_000, "#?[A-D]"), 1..40),
    ) {
        // What stands for a missing value is none of the words.
        prop_assume!(rows.iter().all(|row| !["na", "nan", "null", "none"].contains(&row.0.as_str())));
        let folder = Folder::new();
        let mut text = "word,number,whole,letter\n".to_owned();
        for (word, number, whole, letter) in &rows {
            text += &format!("\"{}\",{number:?},{whole},\"{letter}\"\n", word.replace('"', "\"\""));
        }
        let file = folder.write("t.csv", &text);
        let Ok(data) = Dataset::open(&file) else {
            // One row, or equal ones.
            prop_assert!(rows.iter().all(|row| *row == rows[0]), "{:?}", Dataset::open(&file));
            return Ok(());
        };
        let preparation = data.preparation();
        for name in ["out.csv", "out.tsv", "out.parquet"] {
            write(&folder.path(name), &data).expect("written");
            let back = Dataset::open_as(&folder.name(name), preparation.as_ref());
            let back = back.map_err(|e| TestCaseError::fail(format!("{name}: {e}\n{text}")))?;
            prop_assert_eq!(back.values(), data.values(), "{}", name);
        }
    }
}
