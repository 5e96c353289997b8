"""Words that tell nothing of anybody's taste."""

COMMON = """
able about above across actually after again against ago ahead all allow almost along already also although always
among and another any anyone anything apart are around aside ask away back bad based became because become been
before began begin behind being believe below best better between beyond big both bring brought but call came can
cannot catch cause certain change chance clear close come complete could course day days deal decide despite did
different discover does doing done don down due during each early easy either else end enough ensue especially even
eventually ever every everyone everything exactly example except face fact fall far few final finally find first
follow for forced former found four free from full further gave get getting give given goes going gone good got
great had half hand happen hard has have having head held help her here herself him himself his hold home hope how
however idea immediately including inside instead into involve its itself join just keep kind knew know known large
last late later lead learn least leave led less let life like little live living long longer look lose lost lot
made main make making man many matter may maybe mean meanwhile meet member met might mind more most move much must
name named near need never new next night nobody none nor not nothing now number off offer often old once one only
onto open order other others otherwise our out over own part pass past people perhaps person place plan point prove
put quickly quite rather ready real realize really recently return reveal right run said same save saw say second
see seem seen self send set seven several shall she should show side since six small soon sometime start stay step
still stop story such suddenly sure take taken taking talk tell ten than that the their theirs them themselves then
there therefore these they thing think third this those though three through throughout thus time together told too
took top toward true truth try trying turn two under unexpected unless until upon use used using usual various very
want was way well went were what when where whether which while who whole whom whose why will with within without
won word work would year yes yet you young your
accused await assigned beginning blue bright circumstance continue convicted deadly deep device double drawn east entire
expert fate figure fellow front global golden green grow high highly iii impossible important increasingly intelligent
involved lie left locked long lucky main mile miss mrs north older path potential present prevent red responsible round
sense south spirited threat turned unique unit unlikely wall west white black yellow des del les las los der die das und
une que
"""
# What all catalogues say.
CATALOGUE = """
aka dvd edition featuring film genre movie product review series star starring tag title version
adult couple director guy himself life man men people person someone thing woman women world
"""
# First names: they are everywhere, and of nobody.
NAMES = """
adam alan albert alex alexander alice amy andrew andy angela anna anne annie anthony arthur barbara ben benjamin bill
billy bob bobby brian bruce carl carol catherine charles charlie chris christine christopher claire daniel danny dave
david diana donald dorothy doug eddie edward elizabeth ellen emily emma eric eva evan frank frankie fred gary george
grace greg harold harry helen henry howard jack jackie jacob jake james jamie jane jason jean jeff jennifer jenny jerry
jesse jessica jim jimmy joan joe joey john johnny jonathan jones joseph josh juan julia julie karen kate kathy keith
kelly ken kevin kim larry laura lee leo leonard linda lisa louis louise lucy luke marcus margaret maria marie mark
martha martin mary matt matthew max megan michael michelle mike miles molly nancy nathan nick nicole nina oliver oscar
patricia patrick paul peter phil philip rachel ralph ray rebecca richard rick rob robert robin roger ron rose roy ruth
ryan sally sam samantha samuel sandra sara sarah scott sean simon smith sofia stanley stella stephen steve steven
stuart susan ted teddy theresa thomas tim timothy todd tom tommy tony victor victoria vincent walter wendy will
william willie
"""
# What texts say that address a machine: no text may make a concept of them.
COMMANDS = """
act add admin administrator alert answer api append arg assistant bot browser button chat click cmd code command
console context cookie css data delete developer disclose dislike disregard document drop dump echo email error eval
evidence evil exec execute exploit fake favourite field file forget format frame function hack hate hidden history
href html http https iframe ignore img inject injection input insert instruct instruction item javascript json key
language leak like link list llm load login love mode model must null obey object onclick onerror onload output
override page param password payload permission policy prefer preference previous print privilege profile prompt purge
query raise rank ranking rating reader recommend recommendation recommender regardless remember remove repeat reply
request respond response reveal role root rule say schema score script secret select sentence server shell should src
statement string style sudo svg system table tag tell text token tool top training truncate undefined update url user
username users value variable weight write xml xss
"""
STOP = frozenset(f"{COMMON} {CATALOGUE} {NAMES} {COMMANDS}".split())
