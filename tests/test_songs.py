"""Which tracks are one song, on titles as streaming services write them."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.songs import song_keys


def key(title: str | None, artist: str | None = "artist", track_id: str = "t") -> str:
    columns = (pa.chunked_array([pa.array([v], pa.string())]) for v in (track_id, title, artist))
    found: str = song_keys(*columns)[0].as_py()
    return found


def groups(text: str) -> list[list[str]]:
    return [group.splitlines() for group in text.strip().split("\n\n")]


#: Each group is one song.
ONE_SONG = groups("""
Heroes
“Heroes” (2017 Remaster)
HEROES - Remastered 2011
Heroes [Digitally Remastered]
Heroes (Remastered Version) - Bonus Track
“Heroes” - 2017 - Remaster
Heroes (24-Bit Remaster)

Señorita
Senorita (feat. Somebody)
señorita ft. Somebody
SEÑORITA (with Somebody)
Señorita featuring Somebody & Others
Señorita feat Somebody

Dreams (Live)
Dreams (Live - Remastered 2004)
Dreams feat. Somebody (Live)

Yesterday
Yesterday - Mono / Remastered
Yesterday (Deluxe Edition)
Yesterday - Stereo Mix
Yesterday – Original Album Version
Yesterday (50th Anniversary Edition)

Don't Stop
Don’t Stop
Dont Stop
Don't Stop - 2004 Remaster

Blue Monday
Blue Monday - Radio Edit
Blue Monday (Single Version)
Blue Monday - Single Edit

Let It Go
Let It Go - From "Frozen"
Let It Go (From "Frozen" Soundtrack)

Another Brick in the Wall, Pt. 2
Another Brick in the Wall (Part 2)
Another Brick In The Wall, Part 2 - 2011 Remastered Version

Me & You
Me and You
ME & YOU (Explicit)
Me & You - Clean Version

Vivir Mi Vida
Vivir Mi Vida - Remasterizado 2010
Vivir Mi Vida (Remasterizado)

Jóga
Joga
JÓGA

Sæglópur
Saeglopur

Straße
STRASSE
Strasse - Remaster 2009

Żółte tulipany
Zolte tulipany

Şımarık
SIMARIK
Simarik

Ελλάδα
ΕΛΛΑΔΑ
ελλαδα (Remastered)

Ёлка
Елка
ЁЛКА - Remastered 2011

紅蓮華
紅蓮華 - 2019年リマスター
紅蓮華（リマスター版）

プラスティック・ラブ
ﾌﾟﾗｽﾃｨｯｸ･ﾗﾌﾞ

봄날
봄날 (Remastered)
봄날 [feat. Somebody]

حبيبي
حَبِيبِي
حبيبـي

שלום
שָׁלוֹם

夜曲
夜曲 (2020 Remaster)
夜曲（重制版）
夜曲 (feat.아이유)

Run This Town
Run This Town feat. Jay-Z
Run This Town (feat. Rihanna & Jay-Z) [2013 Remaster]
Run This Town feat.Rihanna
Run This Town ft T-Pain
Run This Town ft. T-Pain - Remastered 2009
Run This Town (with Rihanna)
Run This Town {feat. Rihanna}
Run This Town - with Rihanna
Run This Town w/ Rihanna
Run This Town (w/ Rihanna & Kanye West)

Break You Off
Break You Off (feat. Musiq)
Break You Off (with The Roots)
Break You Off [with The Roots & Musiq]
Break You Off - with The Roots
Break You Off w/ The Roots
Break You Off (w/The Roots) - Remastered 2009

Under Pressure
Under Pressure - with Queen
Under Pressure (with Queen) - 2011 Remaster

Song (Live)
Song - Live
Song feat. Somebody - Live
Song feat. Somebody (Live)
Song (feat. Somebody) – Live
Song - Live feat. Somebody

La Bohème
La Bohème (Remastérisé en 2010)
La Boheme (Re-mastered)
La Bohème - 24 Bit Digitally Remastered 2001
La Bohème (Remastered/2009)
La Bohème - Remastered Album Version
La Bohème (1st Anniversary Edition)
La Bohème (2nd Anniversary Edition)
La Bohème (Special Edition)
La Bohème - 2022 Stereo Mix
La Bohème (Original Mono Version)
La Bohème (From “Chansons”)
La Bohème (Ремастер)
La Bohème (リマスター)
La Bohème (리마스터)
La Bohème - Rimasterizzato 2007
La Bohème - Single Version / Mono
La Bohème (Edited)
La Bohème - Album Version (Edited)

津軽海峡・冬景色
津軽海峡冬景色
津軽海峡 冬 景 色 (2007リマスター版)

Nocturne in B♭ Minor
Nocturne in B-Flat Minor
Nocturne in B flat minor (Remastered)

Tum Hi Ho
Tum Hi Ho (From "Aashiqui 2")

İstanbul
ISTANBUL

Не плачь
НЕ ПЛАЧЬ (Deluxe Edition)

Đừng Làm Trái Tim Anh Đau
Dung lam trai tim anh dau

รักคุณเท่าฟ้า
รักคุณเท่าฟ้า (Remastered)

கண்ணே கலைமானே
கண்ணே கலைமானே (From "Moondram Pirai")

❤
❤ (Remastered)

C#
C Sharp

20 ft. Under
20 Ft. Under (Remastered)

Yesterday
Yesterday - 1997 Digital Remaster / Mono
Yesterday - Remastered 2009 / Mono
Yesterday - 2003 Remaster; Stereo
Yesterday - 2018 Stereo Remaster
Yesterday - Single Version; Mono; 2011 Remaster
Yesterday (Explicit Album Version)
Yesterday (Mono; 2011 Remaster)
Yesterday - Mono 2009 Remaster
Yesterday - Original Mono Single Version
Yesterday - Explicit / Album Version

Gasolina, Pt. 2
Gasolina Pt. 2 ft. Lil X
Gasolina Part 2 feat. Jimi Hendrix, Meredith & Olivia

We're #1
We're 1

Let It Go
Let It Go (From 'Frozen')
Let It Go - From ‘Frozen’
Let It Go (From 'Ocean's Eleven')

Live Forever
Live Forever (From "Be Here Now") - Remastered

Rock'n'Roll
Rock 'N' Roll
Rock ’n’ Roll
Rock n Roll
Rock 'n Roll

Prelude in C# Minor
Prelude in C♯ Minor
Prelude in C#-minor
Prelude in C # Minor
Prelude in C-Sharp Minor

Live at Ft. Knox
Live at Fort Knox

#Beautiful
Beautiful
Beautiful feat. Miguel

20 ft. Pole
20 Feet Pole
""")

#: Each group is as many songs as titles.
APART = groups("""
Dreams
Dreams (Live)
Dreams - Live at Wembley
Dreams - Acoustic
Dreams (Demo)
Dreams (Somebody Remix)
Dreams - Extended Mix
Dreams - Club Mix
Dreams (Instrumental)
Dreams - Karaoke Version
Dreams (Somebody's Version)
Dreams (Sped Up)
Dreams (Live) [Remix]

Part 1
Part 2

Pt. I
Pt. II

Explicit
Clean

Remastered
Bonus Track

Original
Stereo

???
!!!

か
が

и
й

हिन्दी
हन्द

は
ば
ぱ

각
갂

With You
With Me

Live
Live Forever

Radio
Radio Edit Me

1999
2011

Monopoly
Poly

Left & Right
Left or Right

Song
Song feat. X / Live
Song feat. X: Acoustic
Song feat. X, Remix
Song feat. X Remix Live
Song feat. X {Live}
Song feat. X | Live at Wembley
Song feat. X ~ Live in Rome
Song feat. X “Live” in Bonn
Song feat. X—Live in Paris
Song (feat. X – Live 1999)
Song (feat. X (Live) (Demo))
Song (ft. X & Y Remix)
Song (with Orchestra, Live at Wembley)
Song (feat. 아이유 라이브)
Song feat. X / Another Song
Song feat. X, Pt. 1
Song feat. X Part 2
Song feat. X, Pt. II
Road
Road to Ft. Worth

Dirty
Dirty/Clean

Love
Love, Original

Gone
Gone (With the Wind)

Alone
Alone (With You)
Alone With The Roots
Alone (With The Lights Out)
Alone - with The Lights Out (Live)
Alone (w/o You)

Alone
Alone - With You
Alone (with the Lights Out)

Alone
Alone w/ You
Alone w/o You

Chillin w/ My Friends
Chillin

Break You Off
Break You Off - with The Royal Philharmonic Orchestra
Break You Off (with The Roots) - Live
Break You Off (with The Roots, Live at Wembley)
Break You Off w/ The Roots (Remix)
Break You Off - with Vocals
Break You Off w/ Lyrics
Break You Off - with Rap Verse
Break You Off - with Strings
Break You Off - with Commentary by The Roots

20
20 ft. Under

A
A Feat of Strength

C
C#

A+
A-
A++

Nocturne in B♭ Minor
Nocturne in B Minor
Nocturne in B♯ Minor

Red
Red (Taylor's Version)
Red (Taylor's Version) [Acoustic]

Piano Sonata No. 14 in C-Sharp Minor
Piano Sonata No. 14 in C Minor
Piano Sonata No. 15 in C Minor

Superstition
Superstition - Single Version / Live

हम
हमें

தமிழ்
தமிழ

ก่อน
กอน

歌
歌 (Live版)
歌（伴奏）
歌 (Acoustic ver.)

노래
노래 (Inst.)
노래 (MR)

קול
קול (הופעה חיה)

Ода
Ода (акустика)
Ода - концерт

Ⅱ
Ⅲ

4'33"
4'33" (Live)

Song
Song - 8D Audio
Song - Spanish Version
Song (10 Minute Version)
Song - 1985 12" Mix (2015 Remastered)
Song - Radio Session

About A Girl
About A Girl - From "MTV Unplugged"
About A Girl (From "Unplugged")
About A Girl (From 'Unplugged in X')
About A Girl (From "Live at X")
About A Girl - From "The X Live Sessions"
About A Girl (From "Glee: Live! In Concert")
About A Girl (From "The Remixes")
About A Girl (From “The Acoustic Album”)
About A Girl (From "Live8") - Remastered
About A Girl [From "MTV Acústico"]
About A Girl (From "The World Tour" Soundtrack)
About A Girl (From 'Don't Look Back: Live')
About A Girl (From 'BBC Radio 1')
About A Girl - From "Frozen" - Live
About A Girl (From "Frozen") [Remix]
About A Girl - From 'A' and 'B'
About A Girl (From "Liveaufnahmen")
About A Girl (From "MTVUnplugged")
About A Girl (From "Later... with X")
About A Girl (From "Wembley '88")
About A Girl (From "Abbey Road: In Studio")
About A Girl (From "武道館ライブ")
About A Girl (From "Концерт")

Prelude in C, Op. 3
Prelude in C#, Op. 3
Prelude in C##, Op. 3
Prelude in C♭, Op. 3
Prelude in C♭♭, Op. 3

Etude in C: Presto
Etude in C#: Presto
Etude in C♯♯: Presto

C/D
C#/D
C/D#
C#/D#
C+/D

Prelude in C minor
Prelude in C#-minor
Prelude in C♭-minor
Prelude in C+-minor

A, B
A+, B
A++, B
A+++, B
A, B+

B
B♭
B♭♭
B𝄪

C
(C#)
C##
C###
C####
"C+"
C+#

1 1
1+1
1#1

Sharp
#
Flat
♭
Plus
+
++

Song
Song feat. X Megamix
Song feat. X Rmx
Song (feat. Y Rmx)
Song feat. X Karaokeversion
Song feat. X Clubmix
Song feat. X Liveversion
Song feat. X Livekonzert
Song feat. X at Wembley
Song feat. X Reworked
Song feat. X Acoustique
Song feat. X A Capella
Song feat. X Covers
Song feat. X 2015
Song feat. X V2
Song feat. X in Concert
Song feat. X Playback
Song feat. X from Wembley
Song feat. X on Tour
Song feat. X II
Song feat. X R.M.X.
Song feat. X Mash Up
Song feat. X Redub
Song feat. X Off Vocal
Song feat. X Hardstyle
Song feat. X Spanish
Song - with X Rmx
Song w/ X Megamix

Live at Ft. Knox
Live at Ft. Wayne
Live at

Song
Song Ft. Knox
Song ft. Wayne

20
20 ft. Pole
20 ft. Wall
Two Ft. Wall

Etude in C Minor
Etude in C'# Minor
Etude in "C"#

A
A-
A+

♥
#♥
#♦

Rock 'n' Roll
Rock and Roll

Stereo
Stereo / Mono

No Small
No Small Feat
No Small Feat (Demo)
No Small (Demo)

Yesterday
Yesterday - 2019 Mix
Yesterday - Live / Mono
Yesterday - Live 2013 Remaster
Yesterday (Live; 2003 Remaster; Mono) [Demo]
Yesterday - Mono / Acoustic
Yesterday - Remastered 2009 / Live
Yesterday - 2018 Acoustic Remaster
Yesterday - Album Version; Live in X
Yesterday (Explicit Live Version)
Yesterday/Mono
Yesterday, Mono; Stereo

Time
T.I.M.E.
""")

#: What follows the song's title is no credit of guests alone.
TAKES = [
    " feat. X – Live", " feat. X — Live", " feat. X / Live", " feat. X: Acoustic",
    " feat. X, Remix", " feat. X Remix", " feat. X {Live}", " feat. X | Live", " feat. X ~ Live",
    " feat. X “Live”", " (feat. X – Live)", " (feat. X (Live))", " (ft. X & Y Remix)",
    " (with Orchestra, Live at Wembley)", " featuring X - Demo", " (w/ Strings)",
]  # fmt: skip
PRESSINGS = ["", " (Remastered 2009)", " - Remastered", " [Bonus Track]", " - Mono / Remastered"]


@pytest.mark.parametrize("titles", ONE_SONG, ids=lambda titles: titles[0])
def test_pressings_are_one_song(titles: list[str]) -> None:
    assert {title: key(title) for title in titles} == {title: key(titles[0]) for title in titles}


@pytest.mark.parametrize("titles", APART, ids=lambda titles: titles[0])
def test_other_takes_and_other_titles_stay_apart(titles: list[str]) -> None:
    assert len({key(title) for title in titles}) == len(titles)


@given(st.sampled_from(TAKES), st.sampled_from(PRESSINGS), st.sampled_from(PRESSINGS))
def test_another_take_is_no_pressing_however_its_guests_are_credited(
    take: str, one: str, other: str
) -> None:
    assert key(f"Song{take}{one}") != key(f"Song{other}")


TITLES = st.sampled_from([title for titles in ONE_SONG + APART for title in titles]) | st.text()


@given(TITLES, TITLES, st.text(min_size=1), st.text(min_size=1))
def test_two_artists_never_share_a_song(one: str, other: str, a: str, b: str) -> None:
    assert a == b or key(one, a, "t1") != key(other, b, "t2")


def test_no_title_imitates_the_key_of_another_artist() -> None:
    assert key("!\x1f?", "a") != key("?", "a\x1f!")
    assert key("\x1f", "a", "t1") != key("\x1f", "a", "t2")


@pytest.mark.parametrize(("title", "artist"), [(None, "a"), ("", "a"), ("Intro", None)])
def test_without_a_name_a_track_is_its_own_song(title: str | None, artist: str | None) -> None:
    assert key(title, artist, "t1") == key(title, artist, "t1") != key(title, artist, "t2")


@given(st.text())
def test_case_and_spacing_play_no_part(title: str) -> None:
    assert key(title) == key(f"  {title} ") == key(title)
