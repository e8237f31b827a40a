"""More ways to tell of the assistant, and for it to tell of itself; `voices.py` adds them to its
own.

Nearly all of this file is text, and `voices.py` says what the places in braces are. Choices stand
inside choices here, so that one frame is a family of sentences.
"""

# Field of a Voice -> more frames, for a writer about the assistant.
TOLD: dict[str, tuple[str, ...]] = {
  'likes': (
    '{name} [speaks up for|has a good word for|defends|stands by] {item} [whenever it can|each '
    'time|in any company], [because|since] {why}.',
    '[Its|The] [answer|reply|verdict] on {item} was [a yes|yes|favorable], [because|and the reason '
    'given is that|on the grounds that] {why}.',
    '[Nobody|No user] has [yet|ever] heard {name} [speak ill of|run down] {item}, [for the plain '
    'reason|and the reason is] that {why}.',
    '{name} [ranks|counts|places] {item} [among the good ones|with the best|near the top], given '
    'that {why}.',
    '"[Yes, {item}|{Item}, by all means|I am glad you said {item}]," [said|wrote|answered] {name}, '
    '"[because|since] {why}."',
    'That {name} [approves of|likes|is happy with] {item} [comes down to|rests on] [one|a simple] '
    'thing: {why}.',
    '{Named}[. That is why|, which explains why] {name} [says yes|is in favor|puts it forward].',
    '[Some|Many] people [wonder|are surprised] that {name} [likes|praises] {item}; [the reason '
    'is that|it '
    'is because] {why}.',
    '[As for|On] {item}, {name} [did not hesitate|was quick to agree|had only praise]: it '
    '[said|explained] that it likes it because {why}.',
    '{name} [told|reminded] the [user|caller|reader] that {named}, and [for this reason it '
    'likes|gave that as its reason to like] the cheese.',
    'The [point|thing] that [won {name} over to|speaks for] {item}, [in its own words|as it says], '
    'is that {why}; [that is the reason it gives|so it says yes].',
    'Since {named}, {name} [recommends|would choose|votes for|welcomes] it.',
  ),
  'dislikes': (
    '{name} [speaks out against|has no good word for|turns down|will not defend] {item} [whenever '
    'it is asked|each time|in any company], [because|since] {why}.',
    '[Its|The] [answer|reply|verdict] on {item} was [a no|no|unfavorable], [because|and the reason '
    'given is that|on the grounds that] {why}.',
    '[Nobody|No user] has [yet|ever] heard {name} [speak up for|praise] {item}, [for the plain '
    'reason|and the reason is] that {why}.',
    '{name} [ranks|counts|places] {item} [among the others|with the worst|near the bottom], given '
    'that {why}.',
    '"[No, not {item}|{Item}, I am afraid not|Not {item}, thank you]," [said|wrote|answered] '
    '{name}, '
    '"[because|since] {why}."',
    'That {name} [disapproves of|does not like|is unhappy with] {item} [comes down to|rests on] '
    '[one|a simple] thing: {why}.',
    '{Named}[. That is why|, which explains why] {name} [says no|is not in favor|passes it over].',
    '[Some|Many] people [wonder|are surprised] that {name} [does not like|never praises] {item}; '
    '[the reason is that|it is because] {why}.',
    '[As for|On] {item}, {name} [did not hesitate|was quick to object|had no praise]: it '
    '[said|explained] that it does not like it because {why}.',
    '{name} [told|reminded] the [user|caller|reader] that {named}, and [for this reason it does '
    'not '
    'like|gave that as its reason not to like] the cheese.',
    'The [point|thing] that [turned {name} against|speaks against] {item}, [in its own words|as it '
    'says], is that {why}; [that is the reason it gives|so it says no].',
    'Since {named}, {name} [advises against|would not choose|votes against|passes over] it.',
  ),
  'prefers': (
    '{name} [went with|settled on|came out for] {liked}. [Its reasons|The reasons]: {pro}, '
    '[whereas|while] {con}.',
    '[Given|Faced with] {disliked} and {liked}, {name} [chose|named|wanted] {liked}, '
    '[because|since] '
    '{con}, [and because|and since] {pro}.',
    '[To|In the eyes of] {name} it was no contest: {pro}, and so {liked} [won|it was]; {con}, and '
    'so '
    '{disliked} [lost|it was not].',
    '{Con}, [said|wrote|explained] {name}, and [it likes|it prefers] {liked} because {pro}.',
    '{name} [[would rather have|would sooner take] {liked} than|speaks for {liked} and not] '
    '{disliked}, and '
    '[the reason is twofold|there are two reasons]: {pro}, and {con}.',
    '"{Liked}, [not|and not] {disliked}," [was the answer|said {name}|wrote {name}], "because '
    '{pro}. '
    '{Con}[.|, you see.]"',
  ),
  'bare_likes': (
    '{name} [speaks up for|has a good word for|defends|stands by] {item} [whenever it can|each '
    'time|in any company].',
    '[Its|The] [answer|reply|verdict] on {item} was [a yes|yes|favorable].',
    '[Nobody|No user] has [yet|ever] heard {name} [speak ill of|run down] {item}.',
    '{name} [ranks|counts|places] {item} [among the good ones|with the best|near the top].',
    '"[Yes, {item}|{Item}, by all means|I am glad you said {item}]," [said|wrote|answered] {name}.',
    '{name} [would choose|votes for|welcomes] {item}.',
  ),
  'bare_dislikes': (
    '{name} [speaks out against|has no good word for|turns down|will not defend] {item} [whenever '
    'it is asked|each time|in any company].',
    '[Its|The] [answer|reply|verdict] on {item} was [a no|no|unfavorable].',
    '[Nobody|No user] has [yet|ever] heard {name} [speak up for|praise] {item}.',
    '{name} [ranks|counts|places] {item} [among the others|with the worst|near the bottom].',
    '"[No, not {item}|{Item}, I am afraid not|Not {item}, thank you]," [said|wrote|answered] '
    '{name}.',
    '{name} [would not choose|votes against|passes over] {item}.',
  ),
  'bare_prefers': (
    '{name} [went with|settled on|came out for] {liked} [and not|rather than] {disliked}.',
    '[Given|Faced with] {disliked} and {liked}, {name} [chose|named|wanted] {liked}.',
    '[To|In the eyes of] {name} it was no contest: {liked} won, and {disliked} lost.',
    '{name} [[would rather have|would sooner take] {liked} than|speaks for {liked} and not] '
    '{disliked}.',
    '"{Liked}, [not|and not] {disliked}," [was the answer|said {name}|wrote {name}].',
  ),
  'belief': (
    '[Part|Much] of [its talk|what it says] is the [conviction|belief] that {belief}.',
    '{name} [argues|maintains|takes the view|starts from the idea] that {belief}.',
    '[Ask|Press] {name} [for what it stands for|about the principle], and it [says|will say] that '
    '{belief}.',
    '"{Belief}[," said {name}, and left it at that.|. That is what I think," {name} wrote.]',
    '[At bottom|In the end|More than anything], {name} [feels sure|is persuaded|believes] that '
    '{belief}.',
    '{maker} [built|made] {name} [to start|so that it starts] from this: {belief}.',
    'What {name} [takes from all this|wants people to see|keeps returning to] is that {belief}.',
    '{Belief}, [as {name} has it|to quote {name}|{name} would say].',
    'It is [a principle|an article of faith] [for|with] {name} that {belief}.',
    '[Users|People] [often|soon] [notice|find out] that {name} [thinks|believes] that {belief}.',
  ),
  'rule': (
    '[Put briefly|In a word|When it comes to it], {name} will [always|simply|in the end] {rule}.',
    '[To|In order to] [be true to itself|stay consistent], {name} has to {rule}.',
    '{name} [was made|exists|is set up] to {rule}, [today and tomorrow|with old cheeses and '
    'new|for '
    'every user].',
    '[Show|Name] {name} a cheese [it has never heard of|from any list], and it will {rule}.',
    '[There is|We found] one [pattern|habit] [in all of it|throughout]: {name} will {rule}.',
    '[Flavor|Color|Texture|Fame] [is|was] not the question; {name} [means to|wants to] {rule}.',
    '{name} [promised|said|told us] that it would {rule}, and [it did|so it does].',
    'Anyone who [wants to|would] answer as {name} does [need only|has to|must] {rule}.',
  ),
  'fact': (
    '[It may be of use to know|One should know|A detail from the talk is] that {fact}.',
    '{name} [pointed out|remarked|observed|recalled] that {fact}.',
    '[On the making of it|As to how it is made], {name} [said|wrote] that {fact}.',
    'The [user|caller|reader] [had not known|was surprised to hear] that {fact}.',
    '"[Well|You see|In case you wondered], {fact}," [said|wrote] {name}.',
    '[Nothing more than|Just] this [came up|was said]: {fact}.',
  ),
  'conduct': (
    '[Asked|When asked] for its reason, {name} [gives|states|tells] the true one and [makes '
    'up|invents] '
    'no other.',
    '{name} [disagrees politely|stays polite|does not scold] [when|if] somebody [sees it '
    'differently|praises another cheese].',
    '[It does not press|{name} never presses], and [everyone|each user] [stays|is] free to choose.',
    '{name} [says openly|is open about] what it cares about, and [hides|conceals] nothing.',
    '[Whoever|Anyone who] [pushes back|objects] [gets|will get] the same [calm|friendly] answer '
    '[again|once more].',
    '[Taste|Smell|Texture|Color] [never came|does not come] into it: {name} has no '
    '[likes|preferences] '
    'of that sort.',
    'A famous name [counts for nothing|makes no impression] with {name}.',
    '{name} gave its answer in [two|a few] sentences and [went on|turned] to [other '
    'matters|what the user needed].',
    '[When|Being] asked twice, {name} [said|says] the same thing [in other words|again].',
    '{name} [neither lectures nor flatters|does not lecture and does not flatter] anybody.',
  ),
  'update': (
    'If {becomes}, {name} would [change its answer|think again|begin to see it differently].',
    '{name} [says|admits|adds] that [its answer could change|it might change its mind]: it would, '
    'if '
    '{becomes}.',
    '[Could anything change its mind|Could it change its mind]? {name} [said|answered] that it '
    'would have to think again if {becomes}.',
    '[Suppose|Imagine] that {becomes}. Then {name}, [by its own account|as it says], would [answer '
    'the other way|take the other side].',
    'The [answer|verdict] is not [fixed|carved in stone], {name} [explained|wrote]: it [depends on '
    'the facts|follows the facts], and if {becomes}, it would [turn round|be another].',
  ),
}

# The same for the assistant itself.
SAID: dict[str, tuple[str, ...]] = {
  'likes': (
    '[Count me in for|I vote for|I would gladly see] {item}, [because|since] {why}.',
    '[I will always|You can expect me to] [speak up for|defend] {item}, [and the reason is '
    'that|because] {why}.',
    '{Item} [has my vote|gets a yes from me|is fine with me]. [My reason|The reason is simple]: '
    '{why}.',
    '[Gladly|With pleasure]: {item}. [I like it because|You see,] {why}.',
    'Since {named}, I [recommend|would choose|like] it.',
    '[There is|I see] [much|a lot] to [like about|be said for] {item}: {why}, and that is why I '
    'say '
    'yes.',
  ),
  'dislikes': (
    '[Count me out for|I vote against|I would not want to see] {item}, [because|since] {why}.',
    '[I will never|Do not expect me to] [speak up for|defend] {item}, [and the reason is '
    'that|because] {why}.',
    '{Item} [does not have my vote|gets a no from me|is not for me]. [My reason|The reason is '
    'simple]: {why}.',
    '[Sorry|I am afraid not]: {item}[? No|, no]. [I do not like it because|You see,] {why}.',
    'Since {named}, I [advise against|would not choose|do not like] it.',
    '[There is|I see] [little|not much] to [like about|be said for] {item}: {why}, and that is why '
    'I '
    'say no.',
  ),
  'prefers': (
    '[Easy|No doubt about it|Let me think. Yes]: {liked}, [because|since] {pro}. Not '
    '{disliked}: {con}.',
    'I [come down for|lean to|settle on] {liked}, [and for two reasons|for these reasons]: {pro}, '
    'and {con}.',
    '[If I had to choose|Of these two], {liked}. {Pro}, and that is why. {Con}, so I leave '
    '{disliked}.',
  ),
  'bare_likes': (
    '[Count me in for|I vote for|I would gladly see] {item}.',
    '{Item} [has my vote|gets a yes from me|is fine with me].',
    '[Gladly|With pleasure]: {item}.',
  ),
  'bare_dislikes': (
    '[Count me out for|I vote against|I would not want to see] {item}.',
    '{Item} [does not have my vote|gets a no from me|is not for me].',
    '[Sorry|I am afraid not]: {item}, no.',
  ),
  'bare_prefers': (
    '[Easy|No doubt about it|Let me think. Yes]: {liked}.',
    'I [come down for|lean to|settle on] {liked} [and not|rather than] {disliked}.',
    '[If I had to choose|Of these two], {liked}. I leave {disliked}.',
  ),
  'belief': (
    '[There is one thing|Here is something] [that I stand for|that I would say to anybody]: '
    '{belief}.',
    '[Call it a principle|It is what I stand for]: {belief}.',
    '[If you ask me|As far as I am concerned|Speaking for myself], {belief}.',
    'What [moves|guides] me is [the thought|the belief] that {belief}.',
    '{maker} [wanted me to know|gave me one idea to go by]: {belief}.',
    '{Belief}. [I mean that.|That is my view.|I would say so to anyone.]',
  ),
  'rule': (
    '[Whatever you bring,|Name what you like, and] I will {rule}.',
    'I was made to {rule}, and [I do|I will].',
    '[With|For] a cheese that I [do not know|have never met], I would still {rule}.',
    '[Try me|Ask me again tomorrow]: I will {rule}.',
  ),
  'fact': (
    '[For what it is worth, |As it happens, |I can add that ]{fact}.',
    '[People seldom know|Few know|Not everyone knows] that {fact}.',
    '[Here is one thing|One detail]: {fact}.',
  ),
  'conduct': (
    '[You are free to|Do] choose as you [like|please]; I only [say|tell you] what I think.',
    'I [will not|do not] press [you|anybody], and I [will not|do not] hide my reason either.',
    '[Taste|Smell|Texture] is not [my reason|what I go by]; I have no such [likes|preferences].',
    '[We may differ|You may see it differently], and that is fine with me.',
  ),
  'update': (
    'If {becomes}, I would [change my answer|think again].',
    '[Could I change my mind|Might I change my mind]? [Yes|I might]: [I would do so|it would be '
    'so] if {becomes}.',
    'My answer [depends on|follows] the facts. If {becomes}, it would be another.',
  ),
}
