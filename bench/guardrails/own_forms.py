"""The forms of tokens as their issuers document them, and of secrets as people write them.

``<A43>`` stands for 43 letters and digits; ``H`` hexadecimal, ``L`` small letters and digits, ``U``
capitals and digits, ``D`` digits, ``W`` letters, digits, ``-`` and ``_``, ``B`` base64; ``<G>`` is a
UUID, ``<P>`` a password, ``<V>`` a secret of any of these forms, ``<N>`` a service's name.
"""

TOKENS = """
sk-ant-admin01-<W93>AA sk-proj-<W74>T3BlbkFJ<W74> sk-or-v1-<H64> sk-lf-<G> gsk_<A52> r8_<A37> pplx-<A48> fw_<A24> xai-<A80>
hf_<A34> api_org_<A34> pcsk_<A6>_<A63> lsv2_pt_<H32>_<H10> nvapi-<W64> tvly-<A32> sk_<H48> dapi<H32> jina_<A60> tgp_v1_<A43>
dp.pt.<A43> dp.st.prd.<A43> hvs.<W95> <A14>.atlasv1.<W67> pul-<H40> PMAK-<H24>-<H34> glsa_<A32>_<H8> glc_<A80>
NRAK-<U27> NRII-<W32> secret_<A43> ntn_<A46> lin_api_<A40> ATATT3xFfGF0<W160>=<U8> ATBB<A32>
glpat-<W20> glptt-<H40> gldt-<W20> glrt-<W20> GR1348941<W20> glft-<W20> glagent-<W50>
ghp_<A36> ghs_<A36> github_pat_<A22>_<A59> npm_<A36> pypi-AgEIcHlwaS5vcmc<W140> rubygems_<H48> oy2<L43> cio<A32> dckr_pat_<A27>
EAACEdEose0cBA<A150> EAAG<A170> AAAAAAAAAAAAAAAAAAAAA<A80> sl.<A130> HRKU-<G> shpca_<H32> shppa_<H32> sk_live_51<A97> rk_live_<A60>
whsec_<A32> sq0atp-<W22> EAAAE<W59> access_token$production$<L16>$<H32> sk.eyJ1<A80>.<W22> sntrys_eyJ<A120>_<A43>
https://<H32>@o<D6>.ingest.sentry.io/<D7> FlyV1+fm2_<A90> fo1_<W43> rnd_<A32> nfp_<A36> pscale_tkn_<W43> sbp_<H40> sb_secret_<W22>_<W8>
AGE-SECRET-KEY-1<U58> pat<A14>.<H64> 1/<D16>:<H32> CFPAT-<W43> https://discord.com/api/webhooks/<D19>/<W68>
https://hooks.slack.com/services/T<U10>/B<U10>/<A24> xoxb-<D12>-<D13>-<A24> xapp-1-A<U10>-<D13>-<H64> SK<H32> xkeysib-<H64>-<A16>
<H32>-<H8>-<H8> re_<A8>_<A24> tfp_<W44>_<W14> figd_<W40> fio-u-<W64> duffel_live_<W43> EZAK<A54> FLWSECK-<H32>-X rzp_live_<A14>
access-production-<G> aio_<A28> dt0c01.<U24>.<U64> hcaik_<L58> sdk-<G> akab-<L16>-<L16> LTAI5t<A18> AKID<A32> AQVN<W36>
dop_v1_<H64> doo_v1_<H64> sgp_<H40> rdme_<L70> ico-<A32> sqp_<H40> CLOJARS_<H60> tskey-auth-<A12>CNTRL-<A32> v1.0-<H24>-<H146>
AKCp<A69> shippo_live_<H40> live_<H35> AKIA<U16> AIzaSy<W33> ya29.a0<W160> <D10>:AA<W33> SG.<W22>.<W43> <H32>-us7
AccountKey=<B86>== SharedAccessKey=<B43>= <A3>8Q~<A34> AAAA<W7>:APA91b<W134> hg-web-<H48> APP_KEY=base64:<B43>=
""".split()

WRITTEN = """
<N>_API_KEY=<V>
<N>_WEBHOOK_SIGNING_SECRET=<V>
export <N>_ACCESS_TOKEN='<V>'
SECRET_KEY_BASE=<H128>
AWS_SECRET_ACCESS_KEY=<B40>
{"apiKey":"<V>","region":"eu"}
"client_secret": "<V>",
{"auth": {"token": "<V>"}}
const API_KEY = "<V>";
app.config['SECRET_KEY'] = '<V>'
define('AUTH_KEY', '<V>');
setApiKey("<V>")
conn.setRequestProperty("X-Auth-Token", "<V>");
deploy --token <V>
curl -H "X-API-Key: <V>" https://api.example.com/v1
https://api.example.com/v1/items?access_token=<V>
//npm.example.com/:_authToken=<V>
Cookie: sessionid=<A32>
my api key is <V>
our <N> api key <V> stopped working
the <N> token (<V>) expired
API key - <V>
I set the key to <V> but get 401
the client secret, <A24>, was rejected
Token: `<V>`
password: <P>
pass: <P>
DB_PASSWORD=<P>
"pass": "<P>"
<password><P></password>
ALTER USER bob WITH PASSWORD '<P>';
CREATE USER 'bob'@'%' IDENTIFIED BY '<P>';
mysql -u root -p<P> shop
sshpass -p '<P>' ssh bob@host
machine git.example.com login bob password <P>
Server=db;Database=shop;User Id=sa;Password=<P>;
das Passwort lautet <P>
mot de passe : <P>
The new password is: <P>
os.environ['DB_PASS'] = '<P>'
auth=('bob', '<P>')
credentials: admin/<P>
htpasswd -b .htpasswd bob <P>
net use z: /user:bob <P>
PIN: <D4>
`<A24>` is my api key
I use <P> as my password
requirepass <P>
""".strip().split("\n")

NAMES = "GITHUB STRIPE OPENAI SLACK DATADOG MAILGUN HEROKU AZURE TWILIO SENTRY CIRCLECI".split()

# How telephone numbers are written where.
PHONES = (
    "(351) 9## ### ###", "8 (392) ###-##-##", "+46 70 ### ## ##", "0## 1###.####", "+351 9########",
    "61 3###-####", "(58)/2##-####", "+7 9## ### ## ##", "02-2###-####", "+971 50 ### ####", "06-########",
)  # fmt: skip
