// Faulty tables: each with the row and the reason, none accepted in silence.
#include "kernels/base/error.h"
#include "tests/train/data/test_screen.h"
#include "train/data/csv.h"
#include "train/data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mono {
namespace {

using test::kHeader;
using test::row;
using test::small_table;

struct BadTable {
  const char* name;
  std::string text;     // of metadata.csv
  const char* message;  // begins with the place
};

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(BadTables, RxrxForm) {
  const std::string good = small_table();
  const std::string b02 = row("HUVEC-01", 1, "B02", 1, "train", "negative_control", "EMPTY", 2);
  const auto with = [&](const std::string& more) { return good + more; };  // line 26
  const auto instead = [&](const std::string& first) { return replaced(good, b02, first); };
  const auto plain = [&](const char* line) { return instead(std::string(line) + "\n"); };
  const BadTable cases[] = {
      {"empty file", "", "metadata.csv:1: is empty"},
      {"header only", kHeader, "metadata.csv:1: holds no rows"},
      {"missing column", replaced(good, "well_type", "kind"),
       "metadata.csv:1: column 'well_type' is missing; the table has: site_id, well_id"},
      {"doubled column", replaced(good, "well_id", "site_id"),
       "metadata.csv:1: column 'site_id' occurs twice"},
      {"short row", plain("HUVEC-01_1_B02_1,HUVEC-01_1_B02,HUVEC"),
       "metadata.csv:2: has 3 fields, the header has 11"},
      {"open quote", plain("\"HUVEC-01_1_B02_1"), "metadata.csv:2: the quote opened here is never"},
      {"quote inside a field", plain("HUVEC\"-01,,,,,,,,,,"),
       "metadata.csv:2: a quote inside the unquoted field"},
      {"text after a quote", plain("\"HUVEC\"-01,,,,,,,,,,"),
       "metadata.csv:2: text follows the closing quote"},
      {"Latin-1", small_table() + "caf\xE9,", "metadata.csv:26: the byte 0xE9 is of no character"},
      {"UTF-16", std::string("s\0i\0t\0e\0", 8), "metadata.csv: holds NUL bytes"},
      {"duplicate row", with(b02),
       "metadata.csv:26: site 'HUVEC-01_1_B02_1' was already given by metadata.csv:2"},
      {"same site, other label",
       with(row("HUVEC-01", 1, "B02", 1, "train", "treatment", "s21721", 0)),
       "metadata.csv:26: site 'HUVEC-01_1_B02_1' was already given by metadata.csv:2"},
      {"unknown well type", instead(row("HUVEC-01", 1, "B02", 1, "train", "control", "EMPTY", 2)),
       "metadata.csv:2: well_type 'control' is unknown; expected is treatment"},
      {"unknown dataset",
       instead(row("HUVEC-01", 1, "B02", 1, "dev", "negative_control", "EMPTY", 2)),
       "metadata.csv:2: dataset 'dev' is unknown; expected is train or test"},
      {"experiment in both parts",
       with(row("HUVEC-01", 3, "B02", 1, "test", "negative_control", "EMPTY", 2)),
       "metadata.csv:26: dataset of HUVEC-01 is 'test', metadata.csv:2 says 'train'"},
      {"plate 0", instead(row("HUVEC-01", 0, "B02", 1, "train", "negative_control", "EMPTY", 2)),
       "metadata.csv:2: plate '0' is not a number from 1 to 4"},
      {"plate 5", instead(row("HUVEC-01", 5, "B02", 1, "train", "negative_control", "EMPTY", 2)),
       "metadata.csv:2: plate '5' is not a number from 1 to 4"},
      {"plate is a word", plain("HUVEC-01_x_B02_1,,HUVEC,train,HUVEC-01,x,B02,1,treatment,a,0"),
       "metadata.csv:2: plate 'x' is not a number"},
      {"plate overflows", plain("a,,HUVEC,train,HUVEC-01,99999999999999999999,B02,1,treatment,a,0"),
       "metadata.csv:2: plate '99999999999999999999' is not a number"},
      {"well row A", instead(row("HUVEC-01", 1, "A02", 1, "train", "negative_control", "EMPTY", 2)),
       "metadata.csv:2: well 'A02' is not on the plate"},
      {"well column 24",
       instead(row("HUVEC-01", 1, "B24", 1, "train", "negative_control", "EMPTY", 2)),
       "metadata.csv:2: well 'B24' is not on the plate"},
      {"well without zero",
       instead(row("HUVEC-01", 1, "B2", 1, "train", "negative_control", "EMPTY", 2)),
       "metadata.csv:2: well 'B2' is not on the plate (rows B to O, columns 02 to 23"},
      {"site 3", instead(row("HUVEC-01", 1, "B02", 3, "train", "negative_control", "EMPTY", 2)),
       "metadata.csv:2: site '3' is not a number from 1 to 2"},
      {"way out of the folder",
       instead(row("../../etc", 1, "B02", 1, "train", "negative_control", "EMPTY", 2)),
       "metadata.csv:2: experiment '../../etc' is not a name"},
      {"absolute path", instead(row("/etc", 1, "B02", 1, "train", "negative_control", "EMPTY", 2)),
       "metadata.csv:2: experiment '/etc' is not a name"},
      {"empty experiment", plain("_1_B02_1,,HUVEC,train,,1,B02,1,treatment,a,0"),
       "metadata.csv:2: experiment '' is not a name"},
      {"site_id contradicts", replaced(good, "HUVEC-01_1_B02_1,", "HUVEC-01_1_B05_1,"),
       "metadata.csv:2: site_id 'HUVEC-01_1_B05_1' contradicts experiment, plate, well and site, "
       "which make 'HUVEC-01_1_B02_1'"},
      {"well_id contradicts", replaced(good, ",HUVEC-01_1_B02,", ",HUVEC-01_2_B02,"),
       "metadata.csv:2: well_id 'HUVEC-01_2_B02' contradicts"},
      {"class beyond the last",
       instead(row("HUVEC-01", 1, "B02", 1, "train", "negative_control", "EMPTY", 1139)),
       "metadata.csv:2: sirna_id '1139' is not a class from 0 to 1138"},
      {"negative class",
       instead(row("HUVEC-01", 1, "B02", 1, "train", "negative_control", "EMPTY", -1)),
       "metadata.csv:2: sirna_id '-1' is not a class from 0 to 1138"},
      {"class is a word", plain("HUVEC-01_1_B02_1,,HUVEC,train,HUVEC-01,1,B02,1,treatment,a,b"),
       "metadata.csv:2: sirna_id 'b' is not a class"},
      {"class with a fraction",
       plain("HUVEC-01_1_B02_1,,HUVEC,train,HUVEC-01,1,B02,1,treatment,a,2.0"),
       "metadata.csv:2: sirna_id '2.0' is not a class"},
      {"training row without class",
       plain("HUVEC-01_1_B02_1,,HUVEC,train,HUVEC-01,1,B02,1,treatment,,"),
       "metadata.csv:2: the training row has no sirna_id; only treatments of test experiments"},
      {"test control without class",
       with("HUVEC-02_3_B02_1,,HUVEC,test,HUVEC-02,3,B02,1,negative_control,EMPTY,\n"),
       "metadata.csv:26: the control has no sirna_id"},
      {"class without name", plain("HUVEC-01_1_B02_1,,HUVEC,train,HUVEC-01,1,B02,1,treatment,,2"),
       "metadata.csv:2: sirna is empty but sirna_id is 2"},
      {"one name, two classes",
       with(row("HUVEC-01", 3, "B02", 1, "train", "negative_control", "EMPTY", 3)),
       "metadata.csv:26: sirna 'EMPTY' has sirna_id 3, metadata.csv:2 says 2"},
      {"one class, two names",
       with(row("HUVEC-01", 3, "B02", 1, "train", "negative_control", "NOTHING", 2)),
       "metadata.csv:26: sirna_id 2 is 'NOTHING', metadata.csv:2 says 'EMPTY'"},
      {"one class, two well types",
       with(row("HUVEC-01", 3, "B02", 1, "train", "treatment", "EMPTY", 2)),
       "metadata.csv:26: sirna 'EMPTY' is a treatment, metadata.csv:2 says negative_control"},
      {"two cell types",
       with(replaced(row("HUVEC-01", 3, "B02", 1, "train", "negative_control", "EMPTY", 2),
                     ",HUVEC,", ",RPE,")),
       "metadata.csv:26: cell_type of HUVEC-01 is 'RPE', metadata.csv:2 says 'HUVEC'"},
      {"cell type of another experiment",
       with(replaced(row("RPE-01", 1, "B02", 1, "train", "negative_control", "EMPTY", 2), ",RPE,",
                     ",HUVEC,") +
            row("RPE-02", 1, "B02", 1, "train", "negative_control", "EMPTY", 2)),
       "metadata.csv:26: cell_type of RPE-01 is 'HUVEC'"},
  };
  for (const BadTable& c : cases) {
    SCOPED_TRACE(c.name);
    test::TempDir dir;
    test::write_text(dir / "metadata.csv", c.text);
    try {
      open_dataset(dir.path());
      ADD_FAILURE() << "no error";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::data);
      EXPECT_THAT(e.what(), testing::HasSubstr(c.message));
    }
  }
}

struct BadKaggle {
  const char* name;
  std::string train, controls, test;
  const char* message;
};

TEST(BadTables, KaggleForm) {
  const std::string train = "id_code,experiment,plate,well,sirna\n",
                    controls = "id_code,experiment,plate,well,sirna,well_type\n",
                    test = "id_code,experiment,plate,well\n";
  const BadKaggle cases[] = {
      {"numbers and names", train + "RPE-01_1_B03,RPE-01,1,B03,sirna_5\n",
       controls + "RPE-01_1_B02,RPE-01,1,B02,1138,negative_control\n", test,
       "train_controls.csv:2: sirna '1138' is a number, other rows have names"},
      {"name among numbers", train + "RPE-01_1_B03,RPE-01,1,B03,5\nRPE-01_1_B04,RPE-01,1,B04,x\n",
       controls, test, "train.csv:3: sirna 'x' is not a class from 0 to 1138"},
      {"well in two tables", train + "RPE-01_1_B02,RPE-01,1,B02,5\n",
       controls + "RPE-01_1_B02,RPE-01,1,B02,1138,negative_control\n", test,
       "train_controls.csv:2: well 'RPE-01_1_B02' was already given by train.csv:2"},
      {"experiment in both parts", train + "RPE-01_1_B03,RPE-01,1,B03,5\n", controls,
       test + "RPE-01_2_B03,RPE-01,2,B03\n",
       "test.csv:2: dataset of RPE-01 is 'test', train.csv:2 says 'train'"},
      {"id_code contradicts", train + "RPE-01_1_B04,RPE-01,1,B03,5\n", controls, test,
       "train.csv:2: id_code 'RPE-01_1_B04' contradicts experiment, plate and well"},
      {"training row without label", train + "RPE-01_1_B03,RPE-01,1,B03,\n", controls, test,
       "train.csv:2: the training row has no sirna"},
      {"control without well type", train, controls + "RPE-01_1_B02,RPE-01,1,B02,1138,\n", test,
       "train_controls.csv:2: well_type '' is unknown"},
      {"no label column", test + "RPE-01_1_B03,RPE-01,1,B03\n", controls, test,
       "train.csv:1: column 'sirna' is missing; the table has: id_code"},
      {"no rows at all", train, controls, test, "train.csv:1: holds no rows"},
  };
  for (const BadKaggle& c : cases) {
    SCOPED_TRACE(c.name);
    test::TempDir dir;
    test::write_text(dir / "train.csv", c.train);
    test::write_text(dir / "train_controls.csv", c.controls);
    test::write_text(dir / "test.csv", c.test);
    try {
      open_dataset(dir.path());
      ADD_FAILURE() << "no error";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::data);
      EXPECT_THAT(e.what(), testing::HasSubstr(c.message));
    }
  }
}

TEST(BadTables, NoTableAndNoFolder) {
  test::TempDir dir;
  for (const auto& [path, message] :
       {std::pair(dir.path(), "has no table; expected is metadata.csv"),
        std::pair(dir / "none", "is not a folder; give the folder of the screen")}) {
    try {
      open_dataset(path);
      ADD_FAILURE() << "no error";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::data);
      EXPECT_THAT(e.what(), testing::HasSubstr(message));
    }
  }
}

TEST(BadTables, AllFaultsAreListed) {
  test::TempDir dir;
  test::write_text(dir / "metadata.csv",
                   small_table() +
                       row("RPE-01", 9, "B02", 1, "train", "negative_control", "EMPTY", 2) +
                       row("RPE-01", 1, "B99", 1, "train", "negative_control", "EMPTY", 2));
  std::vector<Problem> problems;
  std::vector<std::string> notes;
  const Dataset d = open_dataset(dir.path(), problems, notes);
  ASSERT_EQ(problems.size(), 2u);
  EXPECT_EQ(problems[0].row, 26);
  EXPECT_EQ(problems[1].row, 27);
  EXPECT_EQ(problems[1].kind, "well");
  EXPECT_EQ(problems[1].file, "metadata.csv");
  EXPECT_EQ(d.sites.size(), 24u);
  try {
    open_dataset(dir.path());
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("(1 more; `train_rxrx data check` lists them all)"));
  }
}

TEST(Csv, FieldsLinesAndEnds) {
  const CsvTable t = parse_csv(
      "\xEF\xBB\xBF"
      "a,\"b \"\"c\"\"\"\r\n1,\"x\ny\"\r\n,\n\n\"\",2",
      "t.csv");
  EXPECT_THAT(t.columns, testing::ElementsAre("a", "b \"c\""));
  ASSERT_EQ(t.rows.size(), 3u);
  EXPECT_THAT(t.rows[0].fields, testing::ElementsAre("1", "x\ny"));
  EXPECT_EQ(t.rows[0].line, 2);
  EXPECT_EQ(t.rows[1].line, 4);
  EXPECT_THAT(t.rows[1].fields, testing::ElementsAre("", ""));
  EXPECT_EQ(t.rows[2].line, 6);
  EXPECT_EQ(t.column("a"), 0);
  EXPECT_EQ(t.column("c"), -1);
  int v = 0;
  EXPECT_TRUE(parse_int("-12", v));
  EXPECT_EQ(v, -12);
  for (const char* bad : {"", " 1", "1 ", "+1", "1.0", "0x1", "1e3", "4294967296"})
    EXPECT_FALSE(parse_int(bad, v)) << bad;
}

}  // namespace
}  // namespace mono
